"""Followers of logs that other programs write: by lines that are added, or by a whole document."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from lmm_tui.guarded_files import read_bytes
from lmm_tui.metrics.readers.json_log import RecordLines, document_in, history_in
from lmm_tui.metrics.readers.log_lines import LogLines, decoded
from lmm_tui.metrics.readers.log_row import LineReader, LogRow
from lmm_tui.metrics.readers.metric_names import MetricNamer
from lmm_tui.metrics.readers.place_rows import RowPlacer
from lmm_tui.metrics.series.series import SeriesStore

_MOST_REREADS = 8
_LARGEST_DOCUMENT = 256 << 20
_MANY = 256
"""From so many lines on, columns are faster."""


class LogFollower(Protocol):
    """What every follower offers, `metrics.readers.json_lines.MetricsFollower` among them."""

    @property
    def bad_lines(self) -> int:
        """What could not be read, counted."""
        ...

    @property
    def behind(self) -> bool:
        """Whether more is there than has been read so far."""
        ...

    def poll(self, budget_s: float | None = None) -> bool:
        """Read what is new; True where that was anything."""
        ...


class LineLogFollower:
    """Keeps a store up to date with a log whose lines a reader understands."""

    def __init__(
        self,
        path: Path,
        store: SeriesStore,
        new_reader: Callable[[], LineReader],
        complete: Callable[[bytes], bool] | None = None,
    ) -> None:
        """`new_reader` is called again where the log begins anew; `complete`: see LogLines."""
        self.lines = 0
        """How many there are that are not blank."""
        self._lines = LogLines(path, complete)
        self._store = store
        self._new_reader = new_reader
        self._namer = MetricNamer()
        self._rereads = 0
        self._bad = 0
        self._begin()

    def _begin(self) -> None:
        self._reader = self._new_reader()
        self._placer = RowPlacer(self._store, self._namer)
        self._bad = self.lines = 0

    def _read(self, lines: list[bytes]) -> None:
        columns = self._reader.columns(lines) if len(lines) >= _MANY else None
        if columns is not None and self._placer.add_columns(columns):
            return
        rows, bad = self._reader.rows(lines)
        self._bad += bad + self._placer.add(rows)

    @property
    def bad_lines(self) -> int:
        """Lines that held no row, or one without a usable place."""
        return self._bad + self._lines.too_long

    @property
    def behind(self) -> bool:
        """Whether the file holds more than has been read so far."""
        return self._lines.behind

    @property
    def notes(self) -> list[str]:
        """What was done with rows that the log does not simply count upwards."""
        return self._placer.notes

    def poll(self, budget_s: float | None = None) -> bool:
        """Read what is new, for at most about `budget_s` seconds; True where that was anything."""
        deadline = None if budget_s is None else time.perf_counter() + budget_s
        before = self._store.version, self.bad_lines
        while True:
            lines, restarted = self._lines.read()
            if restarted:
                self._store.clear()
                self._namer.restart()
                self._begin()
            if lines:
                self.lines += sum(1 for line in lines if line and not line.isspace())
                self._read(lines)
            if self._namer.contested and self._rereads < _MOST_REREADS:
                self._rereads += 1
                self._store.clear()
                self._namer.restart()
                self._lines.rewind()
                self._begin()
                continue
            if not self._lines.behind or (deadline and time.perf_counter() >= deadline):
                return (self._store.version, self.bad_lines) != before


class DocumentFollower:
    """Keeps a store up to date with a JSON document, which is replaced as a whole."""

    behind = False

    def __init__(self, path: Path, store: SeriesStore) -> None:
        self.bad_lines = 0
        """How often the document could not be read."""
        self.notes: list[str] = []
        self._path = path
        self._store = store
        self._seen: tuple[int, ...] | None = None

    def poll(self, budget_s: float | None = None) -> bool:
        """Read all of it where it has changed, whatever the budget."""
        del budget_s
        try:
            found = self._path.stat()
            seen = found.st_ino, found.st_size, found.st_mtime_ns
            if seen == self._seen:
                return False
            self._seen = seen
            history = history_of(self._path)
        except (OSError, ValueError, RecursionError):
            history = None
        if history is None:
            self.bad_lines += 1
        else:
            self._show(history)
        return True

    def _show(self, history: list[dict[str, Any]]) -> None:
        records = RecordLines()
        rows = [row for found in history if (row := records.row(found)) is not None]
        namer = MetricNamer()
        for _ in range(_MOST_REREADS):
            self._store.clear()
            placer = RowPlacer(self._store, namer)
            placer.add([LogRow(**_fields(row)) for row in rows])
            if not namer.contested:
                break
            namer.restart()
        self.notes = placer.notes


def _fields(row: LogRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in LogRow.__slots__}


def history_of(path: Path) -> list[dict[str, Any]] | None:
    """The rows in a document. Raises OSError or ValueError where it cannot be read."""
    text = decoded(read_bytes(path, limit=_LARGEST_DOCUMENT)).decode("utf-8", "replace")
    return history_in(document_in(text))


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "trainer_state.json"
        log.write_text('{"log_history": [{"step": 10, "loss": 2.5}]}')
        series = SeriesStore()
        follower = DocumentFollower(log, series)
        assert follower.poll() and not follower.poll()
        print(series.names(), series.last_step)
        assert series.last_step == 10
    print("=== 自测通过 ===")
