"""Copies of a run's rows for other programs: what writes one, and a tracker in a thread.

metrics.jsonl is the record and a tracker writes a copy, which must never stop or slow a run: one
that fails is told of once, and gets no further rows.
"""

from __future__ import annotations

# Trackers import this module, which registers an exit handler. After a very short script the
# interpreter is already shutting down when the thread below gets there, and that would raise.
import concurrent.futures.thread  # noqa: F401
import logging
import queue
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lmm_tui.message import kind_and_text
from lmm_tui.metrics.writers.line_file import PATIENCE_S

_log = logging.getLogger(__name__)

_QUEUED_ROWS = 10_000
_CLOSE_S = 60.0


@dataclass(frozen=True)
class TrackedRun:
    """The run whose rows a tracker gets."""

    name: str
    stage: str
    directory: Path
    group: str = ""
    """What it belongs to, such as a sweep."""
    identity: str = ""
    """The same after a resume, and of no other run."""


class Tracker(ABC):
    """Writes the rows of a run for another program; all is called in one thread.

    What it imports at length it imports in `start`, so that training does not wait for it.
    """

    @abstractmethod
    def start(self, run: TrackedRun, config: Mapping[str, Any]) -> None:
        """Called once, before the first row; `config` is the configuration as nested tables."""

    @abstractmethod
    def row(self, step: int, time: float, values: Mapping[str, float], late: bool) -> None:
        """Numbers that were measured at a step, at a time in Unix seconds.

        A `late` row is of an earlier step, and leaves what was written since as it is; another row
        of an earlier step comes after a resume.
        """

    @abstractmethod
    def close(self) -> None:
        """Called once, after the last row, unless `start` has failed."""


class RowMirror(Protocol):
    """Takes a copy of each row, and never raises."""

    def write(
        self, step: int, time: float, values: Mapping[str, float], late: bool = False
    ) -> None: ...

    def end(self) -> None:
        """Say that no row follows: all are told before one is waited for."""

    @property
    def close(self) -> Callable[[], object]:
        """Wait, for a while, until what was written is there."""


_Row = tuple[int, float, Mapping[str, float], bool]
_Queue = queue.Queue[_Row | None]


class Mirror:
    """A tracker with its thread, which makes it at the first row.

    A row costs its caller a queue entry (1 µs). With 10,000 rows in the queue the caller waits, but
    once that has taken longer than PATIENCE_S, rows that do not fit are dropped. All queued rows
    are written at `close`, which also runs at interpreter exit, and waits for a minute at most.
    """

    def __init__(
        self,
        make: Callable[[], Tracker],
        run: TrackedRun,
        config: Mapping[str, Any],
        failed: Callable[[str], object],
    ) -> None:
        """`failed` is called in the thread, at most once, with what went wrong."""
        rows: _Queue = queue.Queue(_QUEUED_ROWS)
        self._queue = rows
        self._patience_s = PATIENCE_S
        thread = threading.Thread(
            target=_write, args=(make, run, config, rows, failed), name="mirror", daemon=True
        )
        thread.start()
        # A bound method as callback would keep this object alive.
        self.close = weakref.finalize(self, _close, rows, thread)
        """Write all queued rows and end the thread."""

    def write(
        self, step: int, time: float, values: Mapping[str, float], late: bool = False
    ) -> None:
        """Queue one row; `values` is not copied and must not be changed afterwards."""
        try:
            self._queue.put((step, time, values, late), timeout=self._patience_s)
        except queue.Full:
            if self._patience_s:
                _log.warning("rows of a mirror are left out: the disk does not answer")
            self._patience_s = 0.0

    def end(self) -> None:
        """Say that no row follows; `close` waits for what is queued."""
        with suppress(queue.Full):
            self._queue.put_nowait(None)


def _close(rows: _Queue, thread: threading.Thread) -> None:
    try:
        rows.put(None, timeout=_CLOSE_S)
        thread.join(_CLOSE_S)
    except queue.Full:
        pass
    if thread.is_alive():
        _log.warning("a mirror did not end in time; its last rows are left out")


def _write(
    make: Callable[[], Tracker],
    run: TrackedRun,
    config: Mapping[str, Any],
    rows: _Queue,
    failed: Callable[[str], object],
) -> None:
    row = rows.get()
    if row is None:
        return
    try:
        tracker = make()
        tracker.start(run, config)
        try:
            while row is not None:
                tracker.row(*row)
                row = rows.get()
        finally:
            tracker.close()
    except (Exception, SystemExit) as error:
        failed(kind_and_text(error))
        while row is not None:
            row = rows.get()


if __name__ == "__main__":

    class Printed(Tracker):
        def start(self, run: TrackedRun, config: Mapping[str, Any]) -> None:
            print("run", run.name, dict(config))

        def row(self, step: int, time: float, values: Mapping[str, float], late: bool) -> None:
            print(step, dict(values))

        def close(self) -> None:
            print("closed")

    mirror = Mirror(Printed, TrackedRun("demo", "pretrain", Path()), {"stage": "pretrain"}, print)
    mirror.write(1, 0.0, {"train/loss": 2.0})
    mirror.close()
    print("=== 自测通过 ===")
