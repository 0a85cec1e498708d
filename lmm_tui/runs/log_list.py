"""The logs of other programs in a folder and below, as entries of a list of runs.

A log is read again only when it was written since, and the folder is searched seldom: that may take
a second where it holds thousands of files.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from lmm_tui.engine.run.reader import Reader
from lmm_tui.errors import LmmError
from lmm_tui.metrics.readers.log_folders import last_written, runs_at
from lmm_tui.metrics.readers.log_lines import SILENT_S
from lmm_tui.runs.run_health import judge
from lmm_tui.runs.run_verdict import NOT_JUDGED
from lmm_tui.runs.status_text import RunSummary

_SEARCH_EVERY_S = 10.0
_READ_AT_MOST_S = 2.0
"""Of a log that takes longer, no numbers are listed."""


class LogList:
    """Lists the logs of a folder, with a cache. Not thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._searched = -_SEARCH_EVERY_S
        self._logs: list[Path] = []
        self._known: dict[Path, tuple[float, RunSummary]] = {}

    def read(self) -> list[RunSummary]:
        """Every log that holds a row."""
        now = time.monotonic()
        if now - self._searched >= _SEARCH_EVERY_S:
            self._searched = now
            try:
                self._logs = runs_at(self._folder)
            except OSError:
                self._logs = []
        listed = []
        for log in self._logs:
            written = last_written(log)
            known = self._known.get(log)
            fell_silent = time.time() - written >= SILENT_S
            was_running = known is not None and known[1].state == "running"
            if known is None or known[0] != written or (was_running and fell_silent):
                try:
                    label = str(log.relative_to(self._folder)) if log != self._folder else log.name
                    known = written, summary_of_log(log, label)
                except LmmError:
                    continue
                self._known[log] = known
            listed.append(known[1])
        return listed


def summary_of_log(log: Path, label: str = "") -> RunSummary:
    """One log as an entry of a list; raises an LmmError where it cannot be read."""
    session = Reader(log)
    session.poll(_READ_AT_MOST_S)
    session.poll(0.0)
    view = session.view
    if session.loading:
        view = replace(view, status=replace(view.status, step=0, loss=None, val_loss=None))
    verdict = NOT_JUDGED if session.loading else judge(session)[1]
    return RunSummary(log, view.info, view.status, view.state, verdict, label, view.log_format)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        for name in ("a", "b"):
            (Path(scratch) / name).mkdir()
            (Path(scratch) / name / "train.log").write_text("step: 1, loss: 2.5\n")
        listed = LogList(Path(scratch)).read()
        print(*((run.name, run.state, run.status.loss) for run in listed))
        assert [run.name for run in listed] == ["a/train.log", "b/train.log"]
    print("=== 自测通过 ===")
