"""A text file of any size through a window: the part that is looked at is in memory, no more.

It opens at the end at once, moves up and down by chunks, follows what is appended and finds text
block by block. Offsets are bytes and stand at the beginnings of lines. It knows no screen.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lmm_tui.terminal.safe_text import clean

CHUNK = 256 * 1024
MOST_LINES = 40_000
"""In memory; what is furthest from where one looks goes first."""
LONGEST_LINE = 4000

_BLOCK = 1 << 20
_COLOURS = re.compile(r"\x1b\[[0-9;:?]*[A-Za-z]")


@dataclass(frozen=True)
class LogLine:
    offset: int
    raw: bytes

    @property
    def text(self) -> str:
        """As a terminal would leave it: what a bar was written over with, without its colours."""
        text = self.raw[-4 * LONGEST_LINE :].decode("utf-8", "replace").rstrip("\r")
        return clean(_COLOURS.sub("", text.rpartition("\r")[2])[:LONGEST_LINE])


class LogWindow:
    """Lines of `path` from `start` to `end`; an end without a newline is `unfinished`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[LogLine] = []
        self.unfinished: LogLine | None = None
        self.start = self.end = self.size = 0
        self._inode = 0

    @property
    def at_end(self) -> bool:
        """Whether everything after the window is known: nothing, or an unfinished line."""
        return self.end + (len(self.unfinished.raw) if self.unfinished else 0) >= self.size

    def open_end(self) -> None:
        """Look at the end of the file."""
        self._measure()
        self._open(max(self.size - CHUNK, 0), self.size)

    def open_at(self, offset: int) -> None:
        """Look at the line at `offset` and at what is around it."""
        self._measure()
        self._open(max(offset - CHUNK // 2, 0), offset + CHUNK // 2)

    def poll(self) -> bool:
        """Measure the file again; True where it is no longer what it was."""
        before = self.size, self._inode
        self._measure()
        if self._inode != before[1] or self.size < self.end:
            self.open_end()
            return True
        return self.size != before[0]

    def before(self) -> int:
        """Read what stands before the window; how many lines that is."""
        if not self.start:
            return 0
        self.start, lines, _ = self._cut_up(max(self.start - CHUNK, 0), self.start)
        self.lines = lines + self.lines
        if len(self.lines) > MOST_LINES:
            self.end, self.unfinished = self.lines[MOST_LINES].offset, None
            del self.lines[MOST_LINES:]
        return len(lines)

    def after(self) -> int:
        """Read what stands after the window; how many lines went at its beginning."""
        room, lines, rest = CHUNK, list[LogLine](), None
        while not lines and (rest is None or len(rest.raw) == room // 4):
            # Progress bars write for hours without ending a line.
            block = _read(self.path, self.end, self.end + room)
            _, lines, rest = _cut(self.end, block, whole=True)
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
        """The line with `wanted` in it that comes next to `offset`, in either case of letters."""
        needle = wanted.lower().encode()
        blocks = _blocks_up(self.path, offset) if backwards else _blocks_down(self.path, offset)
        for begin, block in blocks:
            found = block.lower().rfind(needle) if backwards else block.lower().find(needle)
            if found >= 0:
                return begin + block.rfind(b"\n", 0, found) + 1
        return None

    def matching(self, wanted: str, most: int) -> list[LogLine]:
        """The last `most` lines with `wanted` in them, from the whole file."""
        needle = wanted.lower().encode()
        found: list[LogLine] = []
        for begin, block in _blocks_up(self.path, self.size):
            if needle in block.lower():
                _, lines, rest = _cut(begin, block, whole=True)
                lines += [rest] if rest else []
                found[:0] = [line for line in lines if needle in line.raw.lower()]
            if len(found) >= most:
                break
        return found[-most:]

    def _open(self, begin: int, until: int) -> None:
        self.start, self.lines, self.unfinished = self._cut_up(begin, until)
        rest = self.unfinished
        self.end = rest.offset if rest else self._after_last(self.lines, min(until, self.size))
        if until < self.size:
            self.unfinished = None

    def _cut_up(self, begin: int, until: int) -> tuple[int, list[LogLine], LogLine | None]:
        """As `_cut`, from further up where there is no line in between: some are very long."""
        while True:
            cut = _cut(begin, _read(self.path, begin, until))
            if not begin or cut[1] or cut[2]:
                return cut
            begin = max(begin - 3 * (until - begin), 0)

    @staticmethod
    def _after_last(lines: list[LogLine], otherwise: int) -> int:
        return lines[-1].offset + len(lines[-1].raw) + 1 if lines else otherwise

    def _measure(self) -> None:
        try:
            found = self.path.stat()
        except OSError:
            self.size = self._inode = 0
        else:
            self.size, self._inode = found.st_size, found.st_ino


def _read(path: Path, begin: int, end: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(begin)
            return file.read(max(end - begin, 0))
    except OSError:
        return b""


def _cut(
    begin: int, block: bytes, *, whole: bool = False
) -> tuple[int, list[LogLine], LogLine | None]:
    """Where the first whole line begins, the whole lines, and what follows the last newline.

    `whole` blocks begin with a line; of others what comes before the first newline is left out.
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


def _blocks_down(path: Path, offset: int) -> Iterator[tuple[int, bytes]]:
    """Blocks of whole lines from `offset` on."""
    with (path if path.exists() else Path(os.devnull)).open("rb") as file:
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
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "output.log"
        log.write_text("".join(f"step {step}\n" for step in range(200_000)) + "50 %\r60 %")
        window = LogWindow(log)
        window.open_end()
        assert window.unfinished is not None
        print(len(window.lines), window.lines[-1].text, window.unfinished.text)
        found = window.find("STEP 77777", window.size, backwards=True)
        assert found is not None
        window.open_at(found)
        assert any(line.offset == found and line.text == "step 77777" for line in window.lines)
        print([line.text for line in window.matching("99999", 9)])
    print("=== 自测通过 ===")
