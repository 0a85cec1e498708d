"""Rows of scalars as TensorBoard events.

tensorboard is imported in the mirror's thread, at the first row. If it is missing or fails, one
warning says so, and the rows are in metrics.jsonl alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmm_tui.guarded_files import PRIVATE, files_below, make_folder
from lmm_tui.metrics.writers.mirror import Mirror, TrackedRun, Tracker

_log = logging.getLogger(__name__)

_FLUSH_S = 5.0


class TensorBoardTracker(Tracker):
    """Writes rows into one new event file in `directory`; they appear within seconds."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._last_step: int | None = None

    def start(self, run: TrackedRun, config: Mapping[str, Any]) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        make_folder(self._directory, self._directory.parent)
        self._writer = EventFileWriter(
            str(self._directory), max_queue_size=100, flush_secs=_FLUSH_S
        )
        for file in files_below(self._directory, self._directory):
            file.chmod(PRIVATE)

    def row(self, step: int, time: float, values: Mapping[str, float], late: bool) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary

        if not late:
            if self._last_step is None or step < self._last_step:
                # A START event makes readers drop what earlier sessions wrote from its step on.
                # They treat only a second START as a restart, so every session writes one.
                start = SessionLog(status=SessionLog.START)
                self._writer.add_event(Event(step=step, wall_time=time, session_log=start))
            self._last_step = step
        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._writer.add_event(Event(step=step, wall_time=time, summary=Summary(value=scalars)))

    def close(self) -> None:
        self._writer.close()


class TensorBoardMirror(Mirror):
    """A mirror as events in `directory`, which is created at the first row."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            lambda: TensorBoardTracker(directory),
            TrackedRun(directory.name, "", directory),
            {},
            lambda error: _log.warning(
                "no TensorBoard mirror in %s: %s; metrics.jsonl is not affected", directory, error
            ),
        )


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        mirror = TensorBoardMirror(Path(folder))
        mirror.write(1, 1e9, {"train/loss": 2.0})
        mirror.close()
        print([path.stat().st_size for path in Path(folder).iterdir()])
    print("=== 自测通过 ===")
