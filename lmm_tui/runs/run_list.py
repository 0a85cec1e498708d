"""The runs of a folder, and the logs of other programs there: list and ancestry.

A run is read again only if one of its files was replaced, so listing 500 unchanged runs costs
2,000 calls of stat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lmm_tui.engine.run.find_run import run_folders
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_dir_error import RunDirError
from lmm_tui.engine.run.run_records import ATTACHABLE_STATES, RunInfo, RunStatus
from lmm_tui.guarded_files import reading, version_of
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.runs.run_tags import read_tags
from lmm_tui.runs.status_text import RunSummary

if TYPE_CHECKING:
    from lmm_tui.runs.log_list import LogList

_LONGEST_NOTE = 500

BROKEN = mark("broken")
"""The state of a run whose files cannot be read, or lead out of it."""


@dataclass(frozen=True)
class ListedRun:
    """A run and its note."""

    summary: RunSummary
    note: str = ""
    tags: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.summary.name

    @property
    def is_log(self) -> bool:
        """Whether it is a log of another program, which is only read."""
        return bool(self.summary.log_format)

    @property
    def live(self) -> bool:
        return not self.is_log and self.summary.state in ATTACHABLE_STATES


class RunList:
    """Lists the runs of a folder, with a cache. Not thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[Path, _Known] = {}
        self._logs: LogList | None = None

    def read(self) -> tuple[ListedRun, ...]:
        """Every readable run and log, the latest started first."""
        found: dict[Path, _Known] = {}
        runs = []
        for path in (run.path for run in run_folders(self._folder)):
            try:
                known = self._known.get(path) or _Known(Reader(path))
                runs.append(known.now())
                found[path] = known
            except RunDirError as error:
                runs.append(_broken(path, str(error)))
        self._known = found
        runs += map(ListedRun, self._others({run.summary.path for run in runs}))
        return tuple(sorted(runs, key=lambda run: run.summary.info.started, reverse=True))

    def _others(self, runs: Collection[Path]) -> list[RunSummary]:
        """Logs of other programs; looked for only where there is more than runs of ours."""
        if self._logs is None:
            try:
                names = [one.name for one in self._folder.iterdir() if one not in runs]
            except OSError:
                return []
            if all(name.startswith(".") for name in names):
                return []
            from lmm_tui.runs.log_list import LogList  # It imports numpy.

            self._logs = LogList(self._folder)
        return self._logs.read()


class _Known:
    """A run of the list, and what it was listed as when its files were last written."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._made_of: object = None
        self._listed: ListedRun | None = None

    def now(self) -> ListedRun:
        run, view = self._reader.run_dir, self._reader.look()
        if self._reader.away:
            return _broken(run.path, self._reader.away)
        made_of = view, version_of(run.note_file), version_of(run.tags_file)
        if self._listed is None or made_of != self._made_of:
            self._made_of, self._listed = made_of, _listed(self._reader)
        return self._listed


def listed_runs(paths: Sequence[Path]) -> list[ListedRun]:
    """Some runs or logs, wherever they are; raises an LmmError where one cannot be read."""
    from lmm_tui.runs.log_list import summary_of_log  # It imports numpy.

    found = []
    for path, label in labels_of(paths).items():
        reader = Reader(path)
        one = ListedRun(summary_of_log(path)) if reader.foreign else _listed(reader)
        found.append(replace(one, summary=replace(one.summary, label=label)))
    return found


def labels_of(paths: Sequence[Path]) -> dict[Path, str]:
    """The name of each run; with its folder where several have that name."""
    names = {path: path.resolve().name for path in paths}
    shared = Counter(names.values())
    return {
        path: name if shared[name] == 1 else f"{path.resolve().parent.name}/{name}"
        for path, name in names.items()
    }


def _listed(run: Reader) -> ListedRun:
    return ListedRun(RunSummary.of(run), read_note(run.run_dir), read_tags(run.run_dir))


def read_note(run: RunDir) -> str:
    """The note saved with a run, or an empty string."""
    try:
        with reading(run.note_file, run.path) as file:
            return file.read(4 * _LONGEST_NOTE).decode("utf-8", "replace").strip()[:_LONGEST_NOTE]
    except OSError:
        return ""


def ancestry(run: ListedRun, runs: Sequence[ListedRun]) -> list[str]:
    """The names of the runs whose weights it started from, the oldest first, its own last."""
    by_name = {other.name: other for other in runs}
    chain = [run.name]
    parent = run.summary.info.parent
    while parent and parent not in chain:
        chain.append(parent)
        known = by_name.get(parent)
        parent = known.summary.info.parent if known else ""
    return chain[::-1]


def searchable_text(run: ListedRun) -> str:
    info = run.summary.info
    state = run.summary.state
    kind = info.stage or run.summary.log_format
    verdict = run.summary.verdict.headline
    words = (run.name, state, tr(state), verdict, tr(verdict))
    parts = (*words, kind, info.model, info.group, info.parent, *run.tags, run.note)
    return " ".join(parts).casefold()


def _broken(path: Path, why: str) -> ListedRun:
    info = RunInfo(path.name, "", 0.0, 0.0, "", 0, 0.0)
    status = RunStatus(BROKEN, error=why)
    return ListedRun(RunSummary(path, info, status, BROKEN), translate_message(why))


if __name__ == "__main__":
    infos = (RunInfo(name, "sft", 0, 0.0, "box", 1, 0.0) for name in ("base", "chat"))
    status = RunStatus("finished", 30, 30)
    runs = [ListedRun(RunSummary(Path(one.name), one, status, "finished")) for one in infos]
    print([run.name for run in runs if "cha" in searchable_text(run)], ancestry(runs[0], runs))
    print("=== 自测通过 ===")
