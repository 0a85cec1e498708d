"""One ssh to another machine: its streams, its end, and the last words it wrote to stderr."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Sequence
from typing import IO

_PATIENCE_S = 2.0
"""With an ssh that was told to end."""
_KEPT = 4096
"""Bytes of stderr: a far end may write there for ever."""


class SshProcess:
    def __init__(self, command: Sequence[str]) -> None:
        """Raises OSError where there is no ssh."""
        self._process = subprocess.Popen(
            [*command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._said = b""
        self._listener = threading.Thread(target=self._listen, name="ssh", daemon=True)
        self._listener.start()

    @property
    def output(self) -> IO[bytes]:
        assert self._process.stdout
        return self._process.stdout

    def write(self, line: bytes) -> bool:
        """Whether it could be written."""
        assert self._process.stdin
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except (OSError, ValueError):
            return False
        return True

    def end(self) -> None:
        """End it and wait for it; safe to call again and from any thread."""
        with contextlib.suppress(OSError, ValueError):
            assert self._process.stdin
            self._process.stdin.close()
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        """The last line of its stderr, once it has ended."""
        self._listener.join(_PATIENCE_S)
        lines = self._said.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    def _listen(self) -> None:
        assert self._process.stderr
        with contextlib.suppress(OSError, ValueError):
            while said := self._process.stderr.read1(_KEPT):  # type: ignore[attr-defined]
                self._said = (self._said + said)[-_KEPT:]


if __name__ == "__main__":
    shown = SshProcess(["sh", "-c", "cat; echo No route to host >&2"])
    shown.write(b"hello\n")
    print(shown.output.readline())
    shown.end()
    print("=== 自测通过 ===")
