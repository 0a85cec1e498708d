"""Compressed streams (.gz, .zst, .xz, .bz2) as bytes, bounded, and checked to their very end.

A stream from a stranger may expand to any size. What is held is bounded by the pieces that are
read, and a stream that expands more than a hundredfold is refused.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from lmm_tui.data.errors import DataError
from lmm_tui.data.text.containers import compression_of
from lmm_tui.message import Message

RATIO = 100
"""How many times larger than its file a stream may be, beyond `FREE` bytes."""
FREE = 256 << 20
_PIECE = 1 << 14
"""Bytes: what stands before damage in the same piece is not read, and the row that is named is
that of the piece."""
_MEMORY = 256 << 20
"""The most that a decoder may take: windows of .zst and dictionaries of .xz can be larger."""


class DamagedStreamError(Exception):
    """A stream that cannot be decompressed any further."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(why)
        self.path, self.why = path, why

    def at(self, line: int) -> DataError:
        """What to say, with the line up to which it could be read."""
        return DataError(
            "{path}:{line}: {why}; give a whole file", path=self.path, line=line, why=self.why
        )


class Decompressed(io.RawIOBase):
    """The bytes of a compressed file, one member or frame after another."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._make, self._failure, self._chunk = _decoder(compression_of(path))
        self._decoder: Any = None
        self._input = self._ready = b""
        self._read = self._given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            if not self._fill():
                return 0
        part = self._ready[: len(buffer)]
        buffer[: len(part)] = part
        self._ready = self._ready[len(part) :]
        return len(part)

    def close(self) -> None:
        self._file.close()
        super().close()

    def _fill(self) -> bool:
        """Decompress some more; False at the end."""
        if self._decoder is not None and self._decoder.eof:
            self._input = self._decoder.unused_data.lstrip(b"\0")  # gzip may be padded.
            self._decoder = None
        if not self._input and getattr(self._decoder, "needs_input", True):
            self._input = self._file.read(self._chunk)
            self._read += len(self._input)
            if not self._input:
                if self._decoder is not None:
                    raise DamagedStreamError(
                        self._path, Message("the compressed stream is cut off")
                    )
                return False
        try:
            self._decoder = self._decoder or self._make()
            self._ready = self._piece()
        except self._failure as error:
            why = Message("the compressed stream is damaged ({error})", error=error)
            raise DamagedStreamError(self._path, why) from None
        self._given += len(self._ready)
        if self._given > FREE and self._given > RATIO * self._read:
            raise DamagedStreamError(
                self._path,
                Message(
                    "expands to more than {ratio} times its size, as files do that are made to "
                    "fill memory",
                    ratio=RATIO,
                ),
            )
        return True

    def _piece(self) -> bytes:
        data, self._input = self._input, b""
        if self._failure is zlib.error:
            piece: bytes = self._decoder.decompress(data, _PIECE)
            self._input = self._decoder.unconsumed_tail
        elif hasattr(self._decoder, "needs_input"):
            piece = self._decoder.decompress(data, _PIECE)
        else:
            piece = self._decoder.decompress(data)
        return piece


def _decoder(compression: str) -> tuple[Callable[[], Any], type[Exception], int]:
    """Makes decoders; what they raise; how many bytes to give them at once."""
    if compression == ".gz":
        return lambda: zlib.decompressobj(wbits=31), zlib.error, 1 << 16
    if compression == ".xz":
        return lambda: lzma.LZMADecompressor(memlimit=_MEMORY), lzma.LZMAError, 1 << 16
    if compression == ".bz2":
        return bz2.BZ2Decompressor, OSError, 1 << 16
    import zstandard

    # It gives all that a piece stands for at once, so the pieces are small.
    made = zstandard.ZstdDecompressor(max_window_size=_MEMORY)
    return made.decompressobj, zstandard.ZstdError, 1 << 10


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        demo = Path(scratch, "demo.txt.gz")
        whole = gzip.compress(b"one\ntwo\n") + gzip.compress(b"three\n")
        demo.write_bytes(whole)
        assert io.BufferedReader(Decompressed(demo.open("rb"), demo)).read() == b"one\ntwo\nthree\n"
        demo.write_bytes(whole[:-6])
        try:
            io.BufferedReader(Decompressed(demo.open("rb"), demo)).read()
        except DamagedStreamError as error:
            print(error.at(3))
    print("=== 自测通过 ===")
