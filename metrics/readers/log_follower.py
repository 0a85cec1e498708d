"""Followers of logs that other programs write: by lines that are added, or by a whole document."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from lmm_tui.guarded_files import read_bytes
from lmm_tui.metrics.readers.json_log import RecordLines, document_in, history_in
from lmm_tui.metrics.readers.log_facts import LAST_LINES, LogFacts, failure_in
from lmm_tui.metrics.readers.log_lines import LogLines, decoded
from lmm_tui.metrics.readers.log_row import LineReader, LogRow
from lmm_tui.metrics.readers.metric_names import MetricNamer
from lmm_tui.metrics.readers.place_rows import RowPlacer, is_validation
from lmm_tui.metrics.series.series import SeriesStore

_MOST_REREADS = 8
_LARGEST_DOCUMENT = 256 << 20
_MANY = 256
"""From so many lines on, columns are faster."""


class LogFollower(Protocol):
    """What every follower of a log of another program offers."""

    @property
    def bad_lines(self) -> int:
        """What could not be read, counted."""
        ...

    @property
    def behind(self) -> bool:
        """Whether more is there than has been read so far."""
        ...

    @property
    def notes(self) -> list[str]:
        """What of the log is not in the series as it stands there, as sentences."""
        ...

    @property
    def facts(self) -> LogFacts:
        """What the log says of its run beside the rows."""
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
        self._bad = 0
        self.facts = LogFacts()
        self._last: list[bytes] = []

    def _read(self, lines: list[bytes]) -> None:
        self._last = [*self._last, *lines[-LAST_LINES:]][-LAST_LINES:]
        columns = self._reader.columns(lines) if len(lines) >= _MANY else None
        if columns is not None and self._placer.add_columns(columns):
            self.facts.end = ""
            self.facts.expect(columns.total_steps)
            return
        rows, bad = self._reader.rows(lines)
        note_facts(self.facts, rows)
        self._bad += bad + self._placer.add(rows)

    def _look_at_the_end(self) -> None:
        """A traceback that no row follows has ended the run."""
        failure = failure_in(self._last)
        if failure is not None:
            rows, _ = self._new_reader().rows(self._last[failure[0] :])
            if not any(row.values for row in rows):
                self.facts.end, self.facts.error = "failed", failure[1]

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
                self._read(lines)
            if self._namer.contested and self._rereads < _MOST_REREADS:
                self._rereads += 1
                self._store.clear()
                self._namer.restart()
                self._lines.rewind()
                self._begin()
                continue
            if lines and not self._lines.behind:
                self._look_at_the_end()
            if not self._lines.behind or (deadline and time.perf_counter() >= deadline):
                return (self._store.version, self.bad_lines) != before


def note_facts(facts: LogFacts, rows: list[LogRow]) -> None:
    """Take what rows say of the run as a whole."""
    for row in rows:
        facts.expect(row.total_steps)
        if row.is_summary:
            facts.end = "finished"
        elif facts.end and row.values and not is_validation(row):
            facts.end, facts.error = "", ""
        if row.is_last:
            facts.end = "finished"


class DocumentFollower:
    """Keeps a store up to date with a JSON document, which is replaced as a whole."""

    behind = False

    def __init__(self, path: Path, store: SeriesStore) -> None:
        self.bad_lines = 0
        """How often the document could not be read."""
        self.notes: list[str] = []
        self.facts = LogFacts()
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
            document = document_of(self._path)
            history = history_in(document)
        except (OSError, ValueError, RecursionError):
            document = history = None
        self.facts = _facts_of(document)
        if history is None:
            self.bad_lines += 1
        else:
            self._show(history)
        return True

    def _show(self, history: list[dict[str, Any]]) -> None:
        records = RecordLines()
        rows = [row for found in history if (row := records.row(found)) is not None]
        note_facts(self.facts, [row for row in rows if row.is_summary])
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


def document_of(path: Path) -> object:
    """A JSON document. Raises OSError or ValueError where it cannot be read."""
    content = decoded(read_bytes(path, limit=_LARGEST_DOCUMENT))
    return document_in(content.decode("utf-8", "replace"))


def _facts_of(document: object) -> LogFacts:
    """Of a `trainer_state.json`."""
    facts = LogFacts()
    if isinstance(document, dict):
        facts.expect(document.get("max_steps"))
        step = document.get("global_step")
        if facts.total_steps and isinstance(step, int) and step >= facts.total_steps:
            facts.end = "finished"
    return facts


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
