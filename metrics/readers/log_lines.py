"""The lines of a log of another program: they end in `\\n`, `\\r\\n`, or a progress bar's `\\r`.

Compressed and UTF-16 files are read as a whole whenever they change. The last line counts without
its end where it is complete in itself, or the file has not been written for some minutes.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from pathlib import Path

from lmm_tui.guarded_files import read_bytes, reading
from lmm_tui.metrics.readers.json_lines import LineFollower

SILENT_S = 300.0
"""A log that has not been written for this long is taken to be complete."""

GZIP = b"\x1f\x8b"
_UTF8, _UTF16 = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_LARGEST = 1 << 31


def decoded(data: bytes) -> bytes:
    """The text of a file as UTF-8, whether it is compressed or UTF-16."""
    if data.startswith(GZIP):
        data = _unzipped(data)
    if data.startswith(_UTF16):
        data = data.decode("utf-16", "replace").encode("utf-8", "replace")
    return data.removeprefix(_UTF8)


def _unzipped(data: bytes) -> bytes:
    """As much as can be read."""
    text = bytearray()
    try:
        while data.startswith(GZIP) and len(text) < _LARGEST:
            stream = zlib.decompressobj(wbits=31)
            text += stream.decompress(data, _LARGEST)
            data = stream.unused_data
    except zlib.error:
        pass
    return bytes(text)


def split_lines(data: bytes) -> list[bytes]:
    """The lines of some text; what stands behind the last end is one, too."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data.split(b"\n")


class LogLines(LineFollower):
    """New lines of a log, as bytes in UTF-8 without their ends."""

    line_ends = (b"\n", b"\r")

    def __init__(self, path: Path, complete: Callable[[bytes], bool] | None = None) -> None:
        """`complete` tells whether a line without its end can be no beginning of a longer one."""
        super().__init__(path, links=True)
        self._complete = complete
        self._tail_given = False
        self._whole = False
        self._as_whole = False

    def rewind(self) -> None:
        """Read the file from its beginning again."""
        self._offset, self._mark, self._seen = 0, b"", ()
        self._skipping, self.too_long, self._tail_given = False, 0, False

    def read(self) -> tuple[list[bytes], bool]:
        if not self._seen:
            self._as_whole = self._must_be_whole()
        if self._as_whole:
            return self._read_whole()
        changed = self._tail_given and self._changed()
        if changed:
            self.rewind()
        first = self._offset == 0
        lines, restarted = super().read()
        if lines and first:
            lines[0] = lines[0].removeprefix(_UTF8)
        if not self.behind:
            lines += self._last_line()
        return lines, restarted or changed

    def _split(self, data: bytes) -> list[bytes]:
        return split_lines(data)

    def _must_be_whole(self) -> bool:
        try:
            with reading(self.path) as file:
                return file.read(2) in (GZIP, *_UTF16)
        except OSError:
            return False

    def _changed(self) -> bool:
        try:
            found = self.path.stat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns) != self._seen

    def _read_whole(self) -> tuple[list[bytes], bool]:
        restarted = bool(self._seen)
        self.behind = False
        if not self._changed():
            return [], False
        try:
            found = self.path.stat()
            data = read_bytes(self.path, limit=_LARGEST)
        except OSError:
            return [], False
        self._seen = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        return split_lines(decoded(data)), restarted

    def _last_line(self) -> list[bytes]:
        """What stands behind the last end of a line, where it counts."""
        if self._tail_given or not self._seen or self._seen[2] <= self._offset or self._skipping:
            return []
        try:
            with reading(self.path) as file:
                file.seek(self._offset)
                tail = file.read(self._seen[2] - self._offset)
        except OSError:
            return []
        if self._complete is not None and self._complete(tail):
            self._take(tail)
            return [tail]
        if time.time() - self._seen[3] / 1e9 < SILENT_S:
            return []
        self._tail_given = True
        return [tail.removeprefix(_UTF8) if self._offset == 0 else tail]


if __name__ == "__main__":
    import gzip
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        log.write_bytes(b"one\r two\r\nthree\nfour")
        lines = LogLines(log)
        found, _ = lines.read()
        print(found)
        assert found == [b"one", b" two", b"three"] and lines.read() == ([], False)
        log.write_bytes(gzip.compress("ja\nnein".encode("utf-16")))
        assert LogLines(log).read()[0] == [b"ja", b"nein"]
    print("=== 自测通过 ===")
