"""TensorBoard mirror: writes rows of scalars as TensorBoard events, in a thread of its own.

tensorboard is imported in that thread too, at the first row, so that training does not wait for it.
If it is missing or fails, the mirror logs one warning and drops all rows: metrics.jsonl is the
record, this is a copy, and it must never stop a run.
"""

from __future__ import annotations

# tensorboard imports this module, which registers an exit handler. After a very short script the
# interpreter is already shutting down when the thread below gets there, and that would raise.
import concurrent.futures.thread  # noqa: F401
import logging
import queue
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lmm_tui.guarded_files import PRIVATE, files_below, make_folder
from lmm_tui.metrics.writers.line_file import PATIENCE_S

_log = logging.getLogger(__name__)

_QUEUED_ROWS = 10_000
_FLUSH_S = 5.0


@dataclass(frozen=True)
class _ScalarRow:
    step: int
    time: float
    scalars: Mapping[str, float]
    late: bool


_Queue = queue.Queue[_ScalarRow | None]


class TensorBoardMirror:
    """Writes rows into one new event file in `directory`, which is created at the first row.

    A row costs its caller a queue entry (1 µs). With 10,000 rows in the queue the caller waits, but
    once that has taken longer than PATIENCE_S, rows that do not fit are dropped. Rows appear
    within seconds, and all queued ones at `close`, which also runs at interpreter exit.
    """

    def __init__(self, directory: Path) -> None:
        self._queue: _Queue = queue.Queue(_QUEUED_ROWS)
        self._patience_s = PATIENCE_S
        self._thread = threading.Thread(
            target=_run, args=(directory, self._queue), name="tensorboard", daemon=True
        )
        self._thread.start()
        # A bound method as callback would keep this object alive.
        self.close = weakref.finalize(self, _close, self._queue, self._thread)
        """Write all queued rows and end the thread."""

    def write(
        self, step: int, time: float, scalars: Mapping[str, float], late: bool = False
    ) -> None:
        """Queue one row; `scalars` is not copied and must not be changed afterwards.

        A `late` row is of an earlier step, and leaves what was written since as it is.
        """
        try:
            self._queue.put(_ScalarRow(step, time, scalars, late), timeout=self._patience_s)
        except queue.Full:
            if self._patience_s:
                _log.warning("TensorBoard rows are left out: the disk does not answer")
            self._patience_s = 0.0


def _close(rows: _Queue, thread: threading.Thread) -> None:
    rows.put(None)
    thread.join()


def _run(directory: Path, rows: _Queue) -> None:
    try:
        _write_rows(directory, rows)
    except Exception as error:
        _log.warning(
            "no TensorBoard mirror in %s: %s; metrics.jsonl is not affected", directory, error
        )
        while rows.get() is not None:
            pass


def _write_rows(directory: Path, rows: _Queue) -> None:
    row = rows.get()
    if row is None:
        return
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    make_folder(directory, directory.parent)
    writer = EventFileWriter(str(directory), max_queue_size=100, flush_secs=_FLUSH_S)
    for file in files_below(directory, directory):
        file.chmod(PRIVATE)
    last_step = None
    try:
        while row is not None:
            if not row.late:
                if last_step is None or row.step < last_step:
                    # A START event makes readers drop what earlier sessions wrote from its step on.
                    # They treat only a second START as a restart, so every session writes one.
                    start = SessionLog(status=SessionLog.START)
                    writer.add_event(Event(step=row.step, wall_time=row.time, session_log=start))
                last_step = row.step
            values = [
                Summary.Value(tag=name, simple_value=value) for name, value in row.scalars.items()
            ]
            summary = Summary(value=values)
            writer.add_event(Event(step=row.step, wall_time=row.time, summary=summary))
            row = rows.get()
    finally:
        writer.close()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        mirror = TensorBoardMirror(Path(folder))
        mirror.write(1, 1e9, {"train/loss": 2.0})
        mirror.close()
        print([path.stat().st_size for path in Path(folder).iterdir()])
    print("=== 自测通过 ===")
