"""The wire format of a remote run: JSON lines in one deflate stream, over the stdio of ssh.

The remote `Sender` first writes a greeting, so that the local `Receiver` can skip what a login
shell prints. Ten scalars at ten steps per second take about 1.3 kB/s. What arrives is bounded:
inflated piece by piece, and no line is longer than `MAX_LINE`.
"""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, Any

from lmm_tui.message import with_parts
from lmm_tui.runs.remote.messages import WireError

GREETING = b"lmm-tui serve-run 1\n"
MAX_LINE = 4 << 20
"""Bytes of a message: a part of a file, in which every character may be escaped, has 1.6 MB."""
MAX_ORDER = 1 << 17
"""Bytes of a message to the run: a command of 64 kB, as the control socket takes it."""
_MAX_PRELUDE = 1 << 20
"""What a login shell may print."""
_CHUNK = 1 << 16


class Sender:
    """Writes messages; safe to call from any thread."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._deflate = zlib.compressobj(9)
        stream.write(GREETING)
        stream.flush()

    def send(self, message: Mapping[str, Any]) -> None:
        """Raises OSError if the other end is closed."""
        line = (
            json.dumps(with_parts(message), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        )
        with self._lock:
            self._stream.write(self._deflate.compress(line))
            self._stream.write(self._deflate.flush(zlib.Z_SYNC_FLUSH))
            self._stream.flush()


class Receiver:
    """Iterates over the lines of a stream, until its end; raises WireError at the first odd one."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        rest: list[bytes] = []
        room = MAX_LINE
        for piece in self._inflated():
            *lines, last = piece.split(b"\n")
            for line in lines:
                yield b"".join((*rest, line))
                rest, room = [], MAX_LINE
            rest.append(last)
            room -= len(last)
            if room < 0:
                raise WireError("a message of more than {max_line} MB", max_line=MAX_LINE >> 20)

    def _inflated(self) -> Iterator[bytes]:
        inflate = zlib.decompressobj()
        begun = _after_greeting(self._stream)
        while begun and (data := self._stream.read1(_CHUNK)):  # type: ignore[attr-defined]
            full = False
            while data or full:
                try:
                    piece = inflate.decompress(data, _CHUNK)
                except zlib.error:
                    raise WireError("what is not compressed") from None
                # A full piece may have left some of its last match behind, without any input.
                data, full = inflate.unconsumed_tail, len(piece) == _CHUNK
                yield piece
            if inflate.eof:
                return


def _after_greeting(stream: IO[bytes]) -> bool:
    """Read up to the end of the greeting; False if the stream ends before."""
    seen = 0
    while line := stream.readline(_CHUNK):
        if line.endswith(GREETING):
            return True
        seen += len(line)
        if seen > _MAX_PRELUDE:
            raise WireError(
                "{max_prelude} MB without the greeting of `lmm-tui serve-run`",
                max_prelude=_MAX_PRELUDE >> 20,
            )
    return False


if __name__ == "__main__":
    from io import BufferedReader, BytesIO

    wire = BytesIO()
    Sender(wire).send({"step": 1, "text": "从前"})
    wire = BytesIO(b"Last login: yesterday\nWelcome! " + wire.getvalue())
    print([line.decode() for line in Receiver(BufferedReader(wire))])
    bomb = GREETING + zlib.compress(bytes(MAX_LINE + _CHUNK))
    try:
        raise AssertionError(list(Receiver(BufferedReader(BytesIO(bomb)))))
    except WireError as refused:
        print(refused)
    print("=== 自测通过 ===")
