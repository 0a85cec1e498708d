"""FollowerRun, the `Run` of a rank that takes part in a run and writes nothing of it."""

from __future__ import annotations

import logging
from typing import Any

from lmm_tui.engine.run.command_server import CommandServer
from lmm_tui.engine.run.control_mailbox import Mailbox
from lmm_tui.engine.run.events import EventLog
from lmm_tui.engine.run.jsonl_writer import JsonlWriter
from lmm_tui.engine.run.run import Run
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import RunInfo, RunStatus
from lmm_tui.engine.run.status_writer import StatusWriter
from lmm_tui.metrics.tracker import TrainingTracker


class FollowerRun(Run):
    """Events and alerts go to this rank's own output; a request to it comes from rank 0."""

    leads = False

    def __init__(self, run_dir: RunDir, info: RunInfo, status: RunStatus) -> None:
        """`info` of the run, as rank 0 has written it."""
        self.run_dir, self.info = _ReadOnly(run_dir.path), info
        self.closed = self.failed = False
        self.events = EventLog(None)
        self.status = StatusWriter(None, status)
        self.metrics = TrainingTracker(None, tensorboard=False)
        self.commands = CommandServer(Mailbox(), self.events, self.status)
        self._samples = JsonlWriter(None)
        self._on_row, self._on_close = [], []

    def describe(self, **changes: Any) -> None:
        """Rank 0 writes run.json."""

    def close(self, error: BaseException | None = None) -> None:
        if self.closed:
            return
        self.closed = True
        for called in self._on_close:
            called()
        self.commands.close()


class _ReadOnly(RunDir):
    """The directory of the run, in which rank 0 alone writes."""

    def write_info(self, info: RunInfo) -> None: ...

    def write_config(self, text: str) -> None: ...

    def write_status(self, status: RunStatus) -> None: ...


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    from lmm_tui.engine.run.run import identify

    logging.basicConfig(format="%(message)s")
    with tempfile.TemporaryDirectory() as folder:
        run = FollowerRun(RunDir(folder), identify("demo", "pretrain"), RunStatus())
        run.metrics.update_loss(2.5)
        run.alert("seen by this rank only")
        print(run.metrics.log(1), [*Path(folder).iterdir()])
        run.close()
    print("=== 自测通过 ===")
