"""All runs of a folder, read again only where their files were replaced; and in which order.

Five hundred runs cost a look at a thousand time stamps. It knows no screen and changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmm_tui.engine.run.atomic_file import version_of
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_dir_error import RunDirError
from lmm_tui.i18n.language import tr
from lmm_tui.runs.session import ATTACHABLE_STATES
from lmm_tui.runs.status_text import RunSummary

_LONGEST_NOTE = 500


@dataclass(frozen=True)
class ListedRun:
    """A run and what somebody noted about it."""

    summary: RunSummary
    note: str = ""

    @property
    def name(self) -> str:
        return self.summary.path.name

    @property
    def live(self) -> bool:
        return self.summary.state in ATTACHABLE_STATES


class RunList:
    """Reads a folder of runs, as often as `read` is called; one caller at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[Path, tuple[object, ListedRun]] = {}

    def read(self) -> tuple[ListedRun, ...]:
        """Every readable run, the one started last first."""
        found: dict[Path, tuple[object, ListedRun]] = {}
        for path in _subfolders(self._folder):
            run = RunDir(path)
            stamps = tuple(map(version_of, (run.info_file, run.status_file, run.note_file)))
            known = self._known.get(path)
            try:
                if known is None or known[0] != stamps:
                    listed = ListedRun(RunSummary.of(run), read_note(run))
                elif known[1].live:
                    # Silence and death leave no trace in the files.
                    listed = _looked_at_again(run, known[1])
                else:
                    listed = known[1]
            except RunDirError:
                continue
            found[path] = stamps, listed
        self._known = found
        runs = [listed for _, listed in found.values()]
        return tuple(sorted(runs, key=lambda run: run.summary.info.started, reverse=True))


def read_note(run: RunDir) -> str:
    """What somebody noted about a run; empty where nobody did."""
    try:
        with run.note_file.open(encoding="utf-8", errors="replace") as file:
            return file.read(_LONGEST_NOTE).strip()
    except OSError:
        return ""


SORT_KEYS: Mapping[str, Callable[[ListedRun], Any]] = {
    "age": lambda run: run.summary.info.started,
    "name": lambda run: run.name.casefold(),
    "state": lambda run: run.summary.state,
    "stage": lambda run: run.summary.info.stage,
    "step": lambda run: run.summary.status.step,
    "loss": lambda run: run.summary.status.loss,
    "val": lambda run: run.summary.status.val_loss,
    "speed": lambda run: run.summary.status.tokens_per_s,
}
"""What a list of runs can be sorted by, in the order in which a key goes through them."""

LARGEST_FIRST = frozenset({"age", "step", "speed"})
"""Where that is what somebody looks for first: the newest, the longest, the fastest."""


def arranged(runs: Sequence[ListedRun], *, by: str, falling: bool, wanted: str) -> list[ListedRun]:
    """The runs in which every word of `wanted` occurs, sorted; what has no value comes last."""
    words = wanted.casefold().split()
    kept = [run for run in runs if all(word in _haystack(run) for word in words)]
    key = SORT_KEYS[by]
    valued = [run for run in kept if _is_value(key(run))]
    rest = [run for run in kept if not _is_value(key(run))]
    return sorted(valued, key=key, reverse=falling) + rest


def ancestry(run: ListedRun, runs: Sequence[ListedRun]) -> list[str]:
    """The names of the runs it comes from, the oldest first, its own last."""
    by_name = {other.name: other for other in runs}
    chain = [run.name]
    parent = run.summary.info.parent
    while parent and parent not in chain:
        chain.append(parent)
        known = by_name.get(parent)
        parent = known.summary.info.parent if known else ""
    return chain[::-1]


def _is_value(value: object) -> bool:
    """NaN is none: it cannot be put in order."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _haystack(run: ListedRun) -> str:
    info = run.summary.info
    state = run.summary.state
    parts = (run.name, state, tr(state), info.stage, info.model, info.parent, run.note)
    return " ".join(parts).casefold()


def _looked_at_again(run: RunDir, known: ListedRun) -> ListedRun:
    summary = known.summary
    state = run.derived_state(summary.info, summary.status)
    return ListedRun(RunSummary(summary.path, summary.info, summary.status, state), known.note)


def _subfolders(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:
        return []


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.run.run_records import RunInfo, RunStatus

    with tempfile.TemporaryDirectory() as place:
        for number, name in enumerate(("base", "chat", "polite")):
            made = RunDir(Path(place) / name)
            made.create()
            parent = ("", "base", "chat")[number]
            made.write_info(
                RunInfo(name, "sft", 0, float(number), "elsewhere", 1, 0.0, parent=parent)
            )
            made.write_status(RunStatus("finished", number * 10, 30, loss=3.0 - number))
        reader = RunList(Path(place))
        listed = reader.read()
        print([run.name for run in arranged(listed, by="loss", falling=False, wanted="")])
        print(ancestry(listed[0], listed))
        assert [run.name for run in listed] == ["polite", "chat", "base"]
        assert ancestry(listed[0], listed) == ["base", "chat", "polite"]
        assert [run.name for run in reader.read()] == ["polite", "chat", "base"]
    print("=== 自测通过 ===")
