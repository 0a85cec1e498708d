"""A window on a text file of any size: only the lines around the visible part are in memory.

It opens at the end, extends up and down by chunks, follows a growing file and searches it block by
block. Offsets are bytes, at the beginning of a line.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lmm_tui.guarded_files import reading
from lmm_tui.terminal.safe_text import clean

CHUNK = 256 * 1024
MOST_LINES = 40_000
"""In memory; beyond that, lines at the other end of the window are dropped."""
LONGEST_LINE = 4000
MOST_COUNTED = 1_000_000
"""Matches of a search."""

_BLOCK = 1 << 20
_COLOURS = re.compile(r"\x1b\[[0-9;:?]*[A-Za-z]")


Level = Literal["all", "output", "warnings"]
"""What is shown: everything, what was printed without the lines of the logger, or trouble."""
LEVELS: tuple[Level, ...] = ("all", "output", "warnings")
_LOGGED = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR|CRITICAL) ")
_TROUBLE = re.compile(rb"\b(WARNING|ERROR|CRITICAL|Warning:|Error:|Traceback)")


@dataclass(frozen=True)
class LogLine:
    offset: int
    raw: bytes

    @property
    def logged(self) -> tuple[int, str] | None:
        """Of a line of our logger: the length of its time and level, and the level."""
        found = _LOGGED.match(self.raw)
        return (found.end(), found[1].decode()) if found else None

    def is_of(self, level: Level) -> bool:
        if level == "output":
            return not _LOGGED.match(self.raw)
        return level == "all" or bool(_TROUBLE.search(self.raw))

    @property
    def text(self) -> str:
        """The line as a terminal shows it: the text after the last carriage return, no colours."""
        text = self.raw[-4 * LONGEST_LINE :].decode("utf-8", "replace").rstrip("\r")
        return clean(_COLOURS.sub("", text.rpartition("\r")[2])[:LONGEST_LINE])


class LogWindow:
    """Lines of `path` from `start` to `end`; a last line without a newline is `unfinished`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[LogLine] = []
        self.unfinished: LogLine | None = None
        self.start = self.end = self.size = 0
        self._inode = 0

    @property
    def at_end(self) -> bool:
        """Whether nothing follows the window but an unfinished line."""
        return self.end + (len(self.unfinished.raw) if self.unfinished else 0) >= self.size

    def open_end(self) -> None:
        """Move the window to the end of the file."""
        self._measure()
        self._open(max(self.size - CHUNK, 0), self.size)

    def open_at(self, offset: int) -> None:
        """Move the window to the lines around `offset`."""
        self._measure()
        self._open(max(offset - CHUNK // 2, 0), offset + CHUNK // 2)

    def poll(self) -> bool:
        """Check the size of the file; True if it changed. A replaced file is opened anew."""
        before = self.size, self._inode
        self._measure()
        if self._inode != before[1] or self.size < self.end:
            self.open_end()
            return True
        return self.size != before[0]

    def before(self) -> int:
        """Extend the window upwards; returns how many lines were added."""
        if not self.start:
            return 0
        self.start, lines, _ = self._lines_before(max(self.start - CHUNK, 0), self.start)
        self.lines = lines + self.lines
        if len(self.lines) > MOST_LINES:
            self.end, self.unfinished = self.lines[MOST_LINES].offset, None
            del self.lines[MOST_LINES:]
        return len(lines)

    def after(self) -> int:
        """Extend the window downwards; returns how many lines were dropped at its beginning."""
        room, lines, rest = CHUNK, list[LogLine](), None
        while not lines and (rest is None or len(rest.raw) == room // 4):
            # A progress bar can write megabytes without a newline: read on until one is found.
            block = _read(self.path, self.end, self.end + room)
            _, lines, rest = _split(self.end, block, whole=True)
            if not block:
                break
            room *= 4
        self.lines += lines
        self.unfinished = rest
        self.end = rest.offset if rest else self._after_last(lines, self.end)
        gone = max(len(self.lines) - MOST_LINES, 0)
        if gone:
            del self.lines[:gone]
            self.start = self.lines[0].offset
        return gone

    def find(self, wanted: str, offset: int, *, backwards: bool) -> int | None:
        """The offset of the next line that contains `wanted`, ignoring case."""
        needle = wanted.lower().encode()
        blocks = _blocks_up(self.path, offset) if backwards else _blocks_down(self.path, offset)
        for begin, block in blocks:
            found = block.lower().rfind(needle) if backwards else block.lower().find(needle)
            if found >= 0:
                return begin + block.rfind(b"\n", 0, found) + 1
        return None

    def matching(self, wanted: str, most: int, level: Level = "all") -> list[LogLine]:
        """The last `most` lines of the file that contain `wanted`, ignoring case, of a level."""
        needle = wanted.lower().encode()
        found: list[LogLine] = []
        for begin, block in _blocks_up(self.path, self.size):
            if needle in block.lower():
                _, lines, rest = _split(begin, block, whole=True)
                lines += [rest] if rest else []
                found[:0] = [
                    line for line in lines if needle in line.raw.lower() and line.is_of(level)
                ]
            if len(found) >= most:
                break
        return found[-most:]

    def _open(self, begin: int, until: int) -> None:
        self.start, self.lines, self.unfinished = self._lines_before(begin, until)
        rest = self.unfinished
        self.end = rest.offset if rest else self._after_last(self.lines, min(until, self.size))
        if until < self.size:
            self.unfinished = None

    def _lines_before(self, begin: int, until: int) -> tuple[int, list[LogLine], LogLine | None]:
        """Like `_split`, but from further up if no line begins there: some are very long."""
        while True:
            parts = _split(begin, _read(self.path, begin, until))
            if not begin or parts[1] or parts[2]:
                return parts
            begin = max(begin - 3 * (until - begin), 0)

    @staticmethod
    def _after_last(lines: list[LogLine], otherwise: int) -> int:
        return lines[-1].offset + len(lines[-1].raw) + 1 if lines else otherwise

    def _measure(self) -> None:
        try:
            found = self.path.lstat()
        except OSError:
            self.size = self._inode = 0
        else:
            self.size, self._inode = found.st_size, found.st_ino


def _read(path: Path, begin: int, end: int) -> bytes:
    try:
        with reading(path, path.parent) as file:
            file.seek(begin)
            return file.read(max(end - begin, 0))
    except OSError:
        return b""


def _split(
    begin: int, block: bytes, *, whole: bool = False
) -> tuple[int, list[LogLine], LogLine | None]:
    """The offset of the first whole line, the whole lines, and the rest after the last newline.

    A `whole` block begins with a line; of any other, the text before the first newline is skipped.
    """
    if begin and not whole:
        skipped = block.find(b"\n") + 1 or len(block)
        begin, block = begin + skipped, block[skipped:]
    *raws, rest = block.split(b"\n")
    lines, offset = [], begin
    for raw in raws:
        lines.append(LogLine(offset, raw))
        offset += len(raw) + 1
    return begin, lines, LogLine(offset, rest) if rest else None


class LogMatches:
    """Which lines of a file contain a text, ignoring case; what was read is not read again."""

    def __init__(self, path: Path, wanted: str) -> None:
        self.wanted = wanted
        self._path = path
        self._needle = wanted.lower().encode()
        self._offsets = array("q")
        self._seen = 0

    def place(self, offset: int, size: int) -> tuple[int, int]:
        """Which match the line at `offset` is, from 1, and how many there are in `size` bytes."""
        if size < self._seen:
            self._offsets, self._seen = array("q"), 0
        for begin, block in _blocks_down(self._path, self._seen):
            if not block.endswith(b"\n"):
                break
            self._count(begin, block)
            self._seen = begin + len(block)
        return bisect_right(self._offsets, offset), len(self._offsets)

    def _count(self, begin: int, block: bytes) -> None:
        lowered, at = block.lower(), 0
        while len(self._offsets) < MOST_COUNTED and (at := lowered.find(self._needle, at)) >= 0:
            self._offsets.append(begin + lowered.rfind(b"\n", 0, at) + 1)
            at = lowered.find(b"\n", at)


def _blocks_down(path: Path, offset: int) -> Iterator[tuple[int, bytes]]:
    """Blocks of whole lines from `offset` to the end of the file."""
    try:
        opened = reading(path, path.parent)
    except OSError:
        return
    with opened as file:
        file.seek(offset)
        while block := file.read(_BLOCK):
            block += file.readline()
            yield offset, block
            offset += len(block)


def _blocks_up(path: Path, offset: int) -> Iterator[tuple[int, bytes]]:
    """Blocks of whole lines that end before `offset`, the last first."""
    rest = b""
    while offset > 0:
        begin = max(offset - _BLOCK, 0)
        block = _read(path, begin, offset) + rest
        cut = block.find(b"\n") + 1 if begin else 0
        rest = block[:cut]
        yield begin + cut, block[cut:]
        offset = begin


if __name__ == "__main__":
    window = LogWindow(Path(__file__))
    window.open_end()
    print(window.lines[-1].text, window.matching("class LOG", 9))
    last = window.find("class LOG", window.size, backwards=True)
    print(LogMatches(window.path, "class log").place(last or 0, window.size))
    print("=== 自测通过 ===")
