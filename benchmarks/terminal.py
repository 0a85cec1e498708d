"""A command in a pseudo-terminal of 200x50: keys are sent to it, and its output is read."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = [sys.executable, "-c", "from lmm_tui.cli.main import main; main()"]
BARE_APP = [sys.executable, "-m", "benchmarks.bare_app"]
"""The baseline of screens; see there for its modes. Its folder is ROOT."""

_PATIENCE_S = 120.0
"""Ends a hang and measures nothing."""
_SETTINGS = tempfile.TemporaryDirectory()
"""A new XDG_CONFIG_HOME per command, so that saved preferences are neither used nor changed."""
_ASKS_FOR_SYNCHRONIZED, _HAS_SYNCHRONIZED = b"\x1b[?2026$p", b"\x1b[?2026;2$y"
"""The query for synchronized output and the answer of most terminals: it is supported."""
_CODES = re.compile(rb"\x1b(\[[\x20-\x3f]*[\x40-\x7e]?|\][^\x07]*\x07?)?")
"""Escape sequences (cursor, colours, pointer shape), which put no character on the screen."""
_BRAILLE = {chr(code).encode() for code in range(0x2801, 0x2900)}


def user_environment() -> dict[str, str]:
    """The environment with bytecode caching on, as users have it."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


class TerminalCommand:
    """A running command and its terminal; leaving the `with` block kills it."""

    def __init__(self, command: list[str], folder: Path, **environment: str) -> None:
        self.seen = b""
        """The end of what was painted since the last key."""
        self.received = 0
        """Bytes since the start."""
        self.started = time.perf_counter()
        self._terminal, other_end = pty.openpty()
        _set_size(other_end, 200, 50)
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=user_environment()
            | {"TERM": "xterm-256color", "XDG_CONFIG_HOME": tempfile.mkdtemp(dir=_SETTINGS.name)}
            | environment,
            stdin=other_end,
            stdout=other_end,
            stderr=other_end,
            start_new_session=True,
        )
        os.close(other_end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._terminal)

    def wait_for(self, condition: Callable[[], bool]) -> float:
        """Read the output until the condition holds; seconds since the command was started."""
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            self._read(0.05)
            if time.monotonic() > deadline:
                raise TimeoutError(self.seen[-2000:].decode("utf-8", "replace"))
        return time.perf_counter() - self.started

    def wait_for_curve(self) -> float:
        """As `wait_for`, until a braille character has been painted."""
        return self.wait_for(lambda: has_braille(self.seen))

    def wait_until_quiet(self, quiet_s: float) -> float:
        """Read until nothing came for so long; the `time.perf_counter` of the last byte."""
        last = time.perf_counter()
        while self._read(quiet_s):
            last = time.perf_counter()
        return last

    def wait_for_exit(self) -> None:
        """Read until the command has ended."""
        while self.process.poll() is None:
            try:
                self._read(0.05)
            except RuntimeError:
                self.process.wait()

    def press(self, keys: bytes) -> None:
        self.seen = b""
        os.write(self._terminal, keys)

    def first_sign(self, keys: bytes, quiet_s: float = 0.03) -> float:
        """Seconds from a key, pressed while nothing is painted, to the next character painted."""
        self.wait_until_quiet(quiet_s)
        started = time.perf_counter()
        self.press(keys)
        while not _CODES.sub(b"", self.seen):
            if not self._read(_PATIENCE_S):
                raise TimeoutError(f"nothing was painted after {keys!r}")
        return time.perf_counter() - started

    def painted(self, keys: bytes, quiet_s: float) -> float:
        """Seconds from a key to the last byte of its answer, after which it is quiet."""
        to_first = self.first_sign(keys, quiet_s)
        began = time.perf_counter()
        return to_first + self.wait_until_quiet(quiet_s) - began

    def read_for(self, seconds: float) -> int:
        """How many bytes come in that time."""
        before, ends = self.received, time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self._read(left)
        return self.received - before

    def resize(self, columns: int, lines: int, quiet_s: float) -> float:
        """Seconds from a new size to the last byte painted for it."""
        self.wait_until_quiet(quiet_s)
        started = time.perf_counter()
        _set_size(self._terminal, columns, lines)
        # The terminal is not the controlling one, so the kernel sends no signal.
        os.killpg(self.process.pid, signal.SIGWINCH)
        self._read(_PATIENCE_S)
        return self.wait_until_quiet(quiet_s) - started

    def _read(self, timeout_s: float) -> bool:
        if not select.select([self._terminal], [], [], timeout_s)[0]:
            return False
        try:
            data = os.read(self._terminal, 1 << 16)
        except OSError:  # The command has ended.
            raise RuntimeError(self.seen[-2000:].decode("utf-8", "replace")) from None
        self.received += len(data)
        self.seen = (self.seen + data)[-1_000_000:]
        if _ASKS_FOR_SYNCHRONIZED in data:
            os.write(self._terminal, _HAS_SYNCHRONIZED)
        return True


def first_curve(command: list[str], folder: Path, **environment: str) -> float:
    """Seconds from the start of a command to the first braille character that it paints."""
    with TerminalCommand(command, folder, **environment) as screen:
        return screen.wait_for_curve()


def has_braille(seen: bytes) -> bool:
    """Whether a curve has been drawn."""
    return any(char in seen for char in _BRAILLE)


def _set_size(terminal: int, columns: int, lines: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
