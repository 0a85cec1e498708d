"""The heartbeat of a run: status.json, rewritten once a second by a thread."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import RunStatus


class StatusWriter:
    """The loop updates `status`, a thread writes it every `period_s` with a new heartbeat.

    The heartbeat continues while the loop is inside a long step or paused. Without a directory
    nothing is written.
    """

    def __init__(self, run_dir: RunDir | None, status: RunStatus, period_s: float = 1.0) -> None:
        self.status = status
        self._run_dir = run_dir
        self._period_s = period_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="status", daemon=True)
        self._write()
        if run_dir is not None:
            self._thread.start()

    def update(self, **changes: Any) -> None:
        self.status = replace(self.status, **changes)

    def close(self) -> None:
        """Write the last status and stop the heartbeat."""
        self._end.set()
        if self._run_dir is not None:
            self._thread.join()
        self._write()

    def _beat(self) -> None:
        while not self._end.wait(self._period_s):
            self._write()

    def _write(self) -> None:
        if self._run_dir is None:
            return
        try:
            self._run_dir.write_status(replace(self.status, heartbeat=time.time()))
        except OSError:
            pass  # A full disk must not end the run; the next heartbeat tries again.


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        writer = StatusWriter(RunDir(folder), RunStatus(state="running"))
        writer.update(step=3)
        writer.close()
        print(RunDir(folder).read_status())
    print("=== 自测通过 ===")
