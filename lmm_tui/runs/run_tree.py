"""Runs as a tree: under the group they belong to, or under the run they started from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from lmm_tui.i18n.language import mark
from lmm_tui.runs.run_list import ListedRun

Branching = Literal["list", "groups", "lineage"]
BRANCHINGS: tuple[Branching, ...] = ("list", "groups", "lineage")
TITLES: dict[Branching, str] = {
    "list": mark("list"),
    "groups": mark("groups"),
    "lineage": mark("lineage"),
}


@dataclass(frozen=True)
class TreeLine:
    """A run with the lines that lead to it, or a head with all runs of its `group`."""

    prefix: str
    run: ListedRun | None
    group: str = ""
    members: tuple[ListedRun, ...] = ()
    folded: bool = False


def tree(
    runs: Sequence[ListedRun], branching: Branching, folded: Collection[str] = ()
) -> list[TreeLine]:
    """The runs as lines, each branch in their order; a group stands where its first run does."""
    if branching == "groups":
        return _groups(runs, folded)
    if branching == "lineage":
        return _lineage(runs)
    return [TreeLine("", run) for run in runs]


def _groups(runs: Sequence[ListedRun], folded: Collection[str]) -> list[TreeLine]:
    members: dict[str, list[ListedRun]] = {}
    for run in runs:
        members.setdefault(run.summary.info.group, []).append(run)
    lines = []
    for run in runs:
        group = run.summary.info.group
        if not group:
            lines.append(TreeLine("", run))
        elif found := members.pop(group, None):
            lines.append(TreeLine("", None, group, tuple(found), group in folded))
            if group not in folded:
                lines += [TreeLine(_branch("", one is found[-1]), one) for one in found]
    return lines


def _lineage(runs: Sequence[ListedRun]) -> list[TreeLine]:
    names = {run.name: run for run in runs}
    children: dict[str, list[ListedRun]] = {}
    for run in runs:
        parent = run.summary.info.parent
        if parent in names and parent != run.name:
            children.setdefault(parent, []).append(run)
    below = {run.name for found in children.values() for run in found}
    lines: list[TreeLine] = []
    seen: set[str] = set()
    # Runs that name each other as parents have no root: they are listed as the last.
    roots = [run for run in runs if run.name not in below]
    for root in [*roots, *(run for run in runs if run.name in below)]:
        todo = [(root, "", "")]
        while todo:
            run, prefix, indent = todo.pop()
            if run.name in seen:
                continue
            seen.add(run.name)
            lines.append(TreeLine(prefix, run))
            found = [one for one in children.get(run.name, ()) if one.name not in seen]
            for one in reversed(found):
                last = one is found[-1]
                deeper = indent + ("   " if last else "│  ")
                todo.append((one, _branch(indent, last), deeper))
    return lines


def _branch(indent: str, last: bool) -> str:
    return indent + ("└─ " if last else "├─ ")


if __name__ == "__main__":
    from pathlib import Path

    from lmm_tui.engine.run.run_records import RunInfo, RunStatus
    from lmm_tui.runs.status_text import RunSummary

    def made(name: str, parent: str, group: str) -> ListedRun:
        info = RunInfo(name, "sft", 0, 0.0, "box", 1, 0.0, parent=parent, group=group)
        return ListedRun(RunSummary(Path(name), info, RunStatus(), "finished"))

    runs = [made("a", "", "s"), made("b", "a", "s"), made("c", "b", ""), made("d", "a", "s")]
    for branching in BRANCHINGS:
        print(*(line.prefix + (line.run.name if line.run else line.group) for line in
                tree(runs, branching)), sep="\n")  # fmt: skip
    assert [line.prefix for line in tree(runs, "lineage")] == ["", "├─ ", "│  └─ ", "└─ "]
    print("=== 自测通过 ===")
