"""What several cases need: a command in a pseudo-terminal of 200x50, and a run to look at."""

from __future__ import annotations

import fcntl
import json
import math
import os
import pty
import re
import select
import signal
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

_PATIENCE_S = 60.0
_SETTINGS = tempfile.TemporaryDirectory()
"""So that nobody's habits are measured, nor changed: the cockpit opens where it was left."""
_ASKS_FOR_SYNCHRONIZED, _HAS_SYNCHRONIZED = b"\x1b[?2026$p", b"\x1b[?2026;2$y"
"""Whether frames can be held back until they are whole: most terminals of today answer so."""
_CODES = re.compile(rb"\x1b(\[[\x20-\x3f]*[\x40-\x7e]?|\][^\x07]*\x07?)?")
"""That say where, in which colour, with which pointer: nothing of them is seen."""
_BRAILLE = {chr(code).encode() for code in range(0x2801, 0x2900)}


def ordinary_environment() -> dict[str, str]:
    """The environment without what keeps Python from caching bytecode, which users have cached."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def start_in_terminal(
    command: list[str], folder: Path, **environment: str
) -> tuple[subprocess.Popen[bytes], int]:
    """A command in a terminal of 200x50, and the file descriptor of that terminal's other end."""
    terminal, its_end = pty.openpty()
    set_size(its_end, 200, 50)
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=ordinary_environment()
        | {"TERM": "xterm-256color", "XDG_CONFIG_HOME": tempfile.mkdtemp(dir=_SETTINGS.name)}
        | environment,
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        start_new_session=True,
    )
    os.close(its_end)
    return process, terminal


def set_size(terminal: int, columns: int, lines: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


class Screen:
    """A command in a terminal of 200x50 that nobody looks at."""

    def __init__(self, command: list[str], folder: Path, **environment: str) -> None:
        self._started = time.perf_counter()
        self._process, self._terminal = start_in_terminal(command, folder, **environment)

    def seconds_until(self, condition: Callable[[bytes], bool]) -> float:
        """Until what was printed so far meets the condition; the command is killed then."""
        try:
            return self.wait_for(condition)
        finally:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            os.close(self._terminal)

    def wait_for(self, condition: Callable[[bytes], bool]) -> float:
        seen = b""
        while not condition(seen):
            left = self._started + _PATIENCE_S - time.perf_counter()
            readable, _, _ = select.select([self._terminal], [], [], max(left, 0))
            if not readable:
                raise TimeoutError(seen[-2000:].decode("utf-8", "replace"))
            try:
                seen += os.read(self._terminal, 1 << 16)
            except OSError:  # The command has ended.
                raise RuntimeError(seen[-2000:].decode("utf-8", "replace")) from None
        return time.perf_counter() - self._started

    def leave(self) -> None:
        """Press q and wait for the end."""
        os.write(self._terminal, b"q")
        while self._process.poll() is None:
            readable, _, _ = select.select([self._terminal], [], [], 0.05)
            if readable:
                try:
                    os.read(self._terminal, 1 << 16)
                except OSError:
                    break
        self._process.wait(_PATIENCE_S)
        os.close(self._terminal)


class Typist:
    """Somebody at a terminal of 200x50 with a command in it: presses keys, and waits for ink."""

    def __init__(self, command: list[str], folder: Path, **environment: str) -> None:
        self.seen = b""
        """The last that was painted."""
        self.received = 0
        """Bytes, since the start."""
        self.process, self._terminal = start_in_terminal(command, folder, **environment)

    def read_until(self, condition: Callable[[], bool]) -> None:
        """Read what is painted until it, or something else, is as wanted."""
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            self._read(0.05)
            if time.monotonic() > deadline:
                raise TimeoutError(self.seen[-2000:].decode("utf-8", "replace"))

    def read_until_quiet(self, quiet_s: float) -> float:
        """Until nothing came for so long; when the last byte came, by `time.perf_counter`."""
        last = time.perf_counter()
        while self._read(quiet_s):
            last = time.perf_counter()
        return last

    def first_sign(self, keys: bytes, quiet_s: float = 0.03) -> float:
        """Seconds from a key, pressed while nothing is being painted, to what is seen next."""
        self.read_until_quiet(quiet_s)
        self.seen = b""
        started = time.perf_counter()
        os.write(self._terminal, keys)
        while not _CODES.sub(b"", self.seen):
            if not self._read(_PATIENCE_S):
                raise TimeoutError(f"nothing was painted after {keys!r}")
        return time.perf_counter() - started

    def painted(self, keys: bytes, quiet_s: float) -> float:
        """Seconds from a key to the last byte of its answer, after which it is quiet."""
        to_first = self.first_sign(keys, quiet_s)
        began = time.perf_counter()
        return to_first + self.read_until_quiet(quiet_s) - began

    def read_for(self, seconds: float) -> int:
        """How many bytes come in that time."""
        before, ends = self.received, time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self._read(left)
        return self.received - before

    def resize(self, columns: int, lines: int, quiet_s: float) -> tuple[float, bytes]:
        """Seconds from a new size to the last byte painted for it, and all of these bytes."""
        self.read_until_quiet(quiet_s)
        self.seen = b""
        started = time.perf_counter()
        set_size(self._terminal, columns, lines)
        # It has no controlling terminal whose kernel would say so.
        os.killpg(self.process.pid, signal.SIGWINCH)
        self._read(_PATIENCE_S)
        return self.read_until_quiet(quiet_s) - started, self.seen

    def close(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._terminal)

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


def has_braille(seen: bytes) -> bool:
    """Whether a curve has been drawn."""
    return any(char in seen for char in _BRAILLE)


def make_finished_run(path: Path, steps: int = 2000) -> None:
    """A run of `steps` steps of ten scalars."""
    from lmm_tui.engine.run.run_dir import RunDir
    from lmm_tui.engine.run.run_records import RunInfo, RunStatus

    run = RunDir(path)
    run.create()
    now = time.time()
    references = {"ln V": 6.93, "unigram": 6.1, "bigram": 4.0}
    run.write_info(
        RunInfo(path.name, "pretrain", now, now, "elsewhere", 1, now, references=references)
    )
    run.write_status(RunStatus("finished", steps, steps, loss=2.5))
    extra = {f"grad/layers.{layer}": 0.1 for layer in range(4)}
    with run.metrics.open("w", encoding="utf-8") as file:
        for step in range(1, steps + 1):
            loss = 2.5 + 4.4 * math.exp(-step / 300) + 0.1 * math.sin(step)
            row = {"step": step, "time": now + step, "tokens": step * 4096, "train/loss": loss}
            row |= {"train/loss_ema": loss, "train/ppl": math.exp(loss), "train/lr": 1e-3}
            row |= {"train/grad_norm": 1.0, "train/clip_rate": 0.1, "train/tokens_per_s": 9e4}
            file.write(json.dumps(row | extra) + "\n")
