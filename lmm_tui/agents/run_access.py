"""The runs that an agent may see: those that a list of one folder has, by their names in it."""

from __future__ import annotations

import threading
from pathlib import Path

from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.runs.run_details import RunDetails
from lmm_tui.runs.run_list import BROKEN, ListedRun, RunList

_LONGEST_NAME = 200


class AgentError(LmmError):
    """A question or command of an agent that cannot be answered or done."""


class RunAccess:
    """The runs of one folder; thread-safe."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self.details = RunDetails(runs_dir)
        self._list = RunList(runs_dir)
        self._lock = threading.Lock()

    def listed(self) -> tuple[ListedRun, ...]:
        """All runs and logs there, the latest started first; links lead out and are left out."""
        with self._lock:
            found = self._list.read()
        return tuple(run for run in found if not run.summary.path.is_symlink())

    def find(self, name: str) -> ListedRun:
        """One of `listed` by its name, and so nothing else; AgentError where there is none."""
        for run in self.listed():
            if run.name == name:
                if run.summary.state == BROKEN:
                    raise AgentError(run.summary.status.error)
                return run
        raise AgentError(
            "{name!r}: no such run; list_runs has their names", name=name[:_LONGEST_NAME]
        )

    def run_dir(self, name: str) -> RunDir:
        """One that can be steered or forked; AgentError for a log of another program."""
        found = self.find(name)
        if found.is_log:
            raise AgentError("{name}: a log of another program, which is only read", name=name)
        return RunDir(found.summary.path)

    def session(self, name: str) -> Reader:
        """A run or a log, read to its end."""
        session = Reader(self.find(name).summary.path)
        session.poll()
        return session


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        access = RunAccess(Path(folder))
        for wrong in ("", "..", "/etc", "none"):
            try:
                access.run_dir(wrong)
                raise AssertionError(wrong)
            except AgentError as refusal:
                print(refusal)
    print("=== 自测通过 ===")
