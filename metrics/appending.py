"""Appending lines to a file: after a torn one, and through a disk that is full for a while."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from io import FileIO
from pathlib import Path

_MOST_BYTES = 16 << 20


class LineFile:
    """Appends lines in order, each with one unbuffered write; never raises once it is open.

    While nothing can be written, lines wait in memory and are tried again with the next one;
    beyond `most_bytes` the oldest are dropped and counted. Not thread-safe.
    """

    def __init__(self, path: Path, most_bytes: int = _MOST_BYTES) -> None:
        """Raises OSError where the file cannot be opened; ends a torn last line."""
        self.trouble = ""
        """Why lines wait; empty while all is written."""
        self.lost = 0
        """Lines that will never be written."""
        self._file = _open_for_append(path)
        self._most_bytes = most_bytes
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._begun = False
        """Whether a part of the first waiting line is in the file."""

    @property
    def waiting(self) -> int:
        """Lines in memory that are not in the file yet."""
        return len(self._waiting)

    def append(self, line: bytes) -> None:
        """`line` ends with a newline."""
        self._waiting.append(line)
        self._size += len(line)
        self._write()
        oldest = int(self._begun)
        while self._size > self._most_bytes and len(self._waiting) > oldest:
            self._size -= len(self._waiting[oldest])
            del self._waiting[oldest]
            self.lost += 1

    def close(self) -> None:
        """Try once more, and close; what still waits is lost."""
        self._write()
        self.lost += len(self._waiting)
        self._waiting.clear()
        with suppress(OSError):  # Network file systems say here what they lost before.
            self._file.close()

    def _write(self) -> None:
        while self._waiting:
            line = self._waiting[0]
            try:
                written = self._file.write(line)
            except OSError as error:
                self.trouble = error.strerror or str(error)
                return
            self._size -= written
            self._begun = written < len(line)
            if self._begun:
                self._waiting[0] = line[written:]
            else:
                self._waiting.popleft()
        self.trouble = ""


def _open_for_append(path: Path) -> FileIO:
    file = FileIO(path, "a+")
    if file.tell():
        file.seek(-1, 2)
        if file.read(1) != b"\n":
            file.write(b"\n")
    return file


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        demo = Path(folder, "demo.jsonl")
        demo.write_bytes(b'{"step": 1}\n{"ste')
        for _ in range(2):
            lines = LineFile(demo)
            lines.append(b'{"step": 2}\n')
            lines.close()
        print(demo.read_text())
        assert demo.read_bytes() == b'{"step": 1}\n{"ste\n{"step": 2}\n{"step": 2}\n'
    full = LineFile(Path("/dev/full"), most_bytes=30) if Path("/dev/full").exists() else None
    if full is not None:
        for number in range(3):
            full.append(f'{{"step": {number}}}\n'.encode())
        print(f"{full.trouble}: {full.waiting} wait, {full.lost} lost")
        assert (full.waiting, full.lost) == (2, 1)
    print("=== 自测通过 ===")
