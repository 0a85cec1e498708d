"""Followers of JSON-lines files that somebody else is still writing.

A follower remembers its offset, takes whole lines only, starts over when a file was truncated
or replaced, and counts the lines that it could not read. It never raises for what is in a file.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from lmm_tui.guarded_files import reading
from lmm_tui.metrics.series.rows import Row, add_rows
from lmm_tui.metrics.series.series import SeriesStore

CHUNK_BYTES = 1 << 19
"""How much is read at once; a longer line is counted as bad and skipped."""

_MARK_BYTES = 64


class LineFollower:
    """Whole new lines of a file, as bytes."""

    line_ends: tuple[bytes, ...] = (b"\n",)

    def __init__(self, path: Path | str, *, links: bool) -> None:
        """`links`: whether `path` may be one, since the user named it."""
        self.path = Path(path)
        self._inside = None if links else self.path.parent
        self.behind = False
        """Whether the file holds more whole lines than were read so far."""
        self.too_long = 0
        """Lines that were longer than a chunk."""
        self._offset = 0
        self._mark = b""  # the last bytes before the offset, to notice a rewritten file
        self._seen: tuple[int, ...] = ()
        self._skipping = False

    def read(self) -> tuple[list[bytes], bool]:
        """The next lines, at most a chunk; and whether the file was replaced before them."""
        try:
            found = self.path.stat(follow_symlinks=self._inside is None)
        except OSError:
            self.behind = False
            return [], False
        seen = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        if seen == self._seen and not self.behind:
            return [], False
        try:
            with reading(self.path, self._inside) as file:
                return self._read(file, seen)
        except OSError:
            self.behind = False
            return [], False

    def _read(self, file: Any, seen: tuple[int, ...]) -> tuple[list[bytes], bool]:
        restarted = bool(self._seen) and (
            seen[:2] != self._seen[:2] or seen[2] < self._offset or not self._mark_holds(file)
        )
        if restarted:
            self._offset, self._mark, self._skipping, self.too_long = 0, b"", False, 0
        file.seek(self._offset)
        data = file.read(CHUNK_BYTES)
        self._seen = seen
        end = max(data.rfind(mark) for mark in self.line_ends) + 1
        if not end and len(data) == CHUNK_BYTES:
            self.too_long += not self._skipping
            self._skipping = True
            end = len(data)
            lines: list[bytes] = []
        else:
            lines = self._split(data[:end])[:-1]
            if lines and self._skipping:
                self._skipping = False
                del lines[0]
        self._take(data[:end])
        self.behind = len(data) == CHUNK_BYTES
        return lines, restarted

    def _split(self, data: bytes) -> list[bytes]:
        return data.split(b"\n")

    def _take(self, data: bytes) -> None:
        """Move the offset behind bytes that were read."""
        if data:
            self._mark = (self._mark + data)[-_MARK_BYTES:]
            self._offset += len(data)

    def _mark_holds(self, file: Any) -> bool:
        file.seek(self._offset - len(self._mark))
        return file.read(len(self._mark)) == self._mark


def parse(line: bytes) -> Row | None:
    """The object on a line, or None where it holds no JSON object.

    Bare NaN and Infinity, which other people's writers leave behind, are read too.
    """
    try:
        row = orjson.loads(line)
    except ValueError:
        try:
            row = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            return None
    return row if isinstance(row, dict) else None


class JsonlFollower:
    """The objects of a JSON-lines file of a run, as they arrive."""

    def __init__(self, path: Path | str) -> None:
        self._file = LineFollower(path, links=False)
        self._bad = 0

    @property
    def bad_lines(self) -> int:
        """Lines that could not be read."""
        return self._bad + self._file.too_long

    @property
    def behind(self) -> bool:
        """Whether the file holds more than has been read so far."""
        return self._file.behind

    def poll(self, budget_s: float | None = None) -> list[Row]:
        """The objects that are new since the last poll, read for at most about `budget_s`."""
        deadline = None if budget_s is None else time.perf_counter() + budget_s
        rows: list[Row] = []
        while True:
            lines, restarted = self._file.read()
            if restarted:
                rows.clear()
                self._bad = 0
            found, bad = _parse_all(lines)
            rows += found
            self._bad += bad
            if not self._file.behind or (deadline and time.perf_counter() >= deadline):
                return rows


ParseLines = Callable[[list[bytes]], tuple[list[Row], int]]
"""The rows on some lines, and how many of the lines were broken."""


class MetricsFollower:
    """Keeps a SeriesStore up to date with a file of one row a line: JSON, or what is given.

    The file is one of a run, no link.
    """

    def __init__(
        self,
        path: Path | str,
        store: SeriesStore,
        new_parser: Callable[[], ParseLines] = lambda: _parse_all,
    ) -> None:
        """`new_parser` is called again where the file begins anew."""
        self._file = LineFollower(path, links=False)
        self._store = store
        self._new_parser = new_parser
        self._parse = new_parser()
        self._bad = 0

    @property
    def bad_lines(self) -> int:
        """Lines that held no row, or one without a usable step."""
        return self._bad + self._file.too_long

    @property
    def behind(self) -> bool:
        """Whether the file holds more than has been read so far."""
        return self._file.behind

    def poll(self, budget_s: float | None = None) -> bool:
        """Read what is new, for at most about `budget_s` seconds; True where that was anything."""
        deadline = None if budget_s is None else time.perf_counter() + budget_s
        before = self._store.version, self.bad_lines
        while True:
            lines, restarted = self._file.read()
            if restarted:
                self._store.clear()
                self._parse = self._new_parser()
                self._bad = 0
            if lines:
                rows, bad = self._parse(lines)
                self._bad += bad + add_rows(self._store, rows)
            if not self._file.behind or (deadline and time.perf_counter() >= deadline):
                return (self._store.version, self.bad_lines) != before


def _parse_all(lines: list[bytes]) -> tuple[list[Row], int]:
    """The rows of all lines that hold one, and how many of the others were not blank."""
    try:
        rows = list(map(orjson.loads, lines))
        if all(type(row) is dict for row in rows):
            return rows, 0
    except ValueError:
        pass
    full = [line for line in lines if line.strip()]
    found = [row for line in full if (row := parse(line)) is not None]
    return found, len(full) - len(found)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "metrics.jsonl"
        series = SeriesStore()
        follower = MetricsFollower(log, series)
        assert not follower.poll()
        log.write_bytes(b'{"step":1,"train/loss":2.5}\nbroken\n{"step":2,"train/loss":"NaN"}\n{"st')
        assert follower.poll() and len(series) == 2 and follower.bad_lines == 1
        with log.open("ab") as more:
            more.write(b'ep":3,"train/loss":2.0}\n')
        assert follower.poll() and series.last_step == 3
        print(series.names(), series.last_step, "bad lines:", follower.bad_lines)
    print("=== 自测通过 ===")
