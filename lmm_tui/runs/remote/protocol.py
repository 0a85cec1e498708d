"""The wire format of a remote run: JSON lines in one deflate stream, over the stdio of ssh.

The remote `Sender` first writes a greeting, so that the local `Receiver` can skip what a login
shell prints. Ten scalars at ten steps per second take about 1.3 kB/s.
"""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, Any

GREETING = b"lmm-tui serve-run 1\n"
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
        line = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        with self._lock:
            self._stream.write(self._deflate.compress(line))
            self._stream.write(self._deflate.flush(zlib.Z_SYNC_FLUSH))
            self._stream.flush()


class Receiver:
    """Iterates over the messages of a stream, until its end or the first invalid data."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[dict[str, Any]]:
        inflate = zlib.decompressobj()
        begun = _after_greeting(self._stream)
        rest = b""
        while begun and (data := self._stream.read1(_CHUNK)):  # type: ignore[attr-defined]
            try:
                *lines, rest = (rest + inflate.decompress(data)).split(b"\n")
                yield from map(json.loads, lines)
            except (zlib.error, ValueError):
                return


def _after_greeting(stream: IO[bytes]) -> bool:
    """Read up to the end of the greeting; False if the stream ends before."""
    while line := stream.readline(_CHUNK):
        if line.endswith(GREETING):
            return True
    return False


if __name__ == "__main__":
    from io import BufferedReader, BytesIO

    wire = BytesIO()
    Sender(wire).send({"step": 1, "text": "从前"})
    wire = BytesIO(b"Last login: yesterday\nWelcome! " + wire.getvalue())
    print(list(Receiver(BufferedReader(wire))))
    print("=== 自测通过 ===")
