"""Our program on a terminal of its own, which can be looked at, typed into, and taken away."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shlex
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path


class Pty:
    """A command on a pseudo-terminal."""

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        env: Mapping[str, str],
        *,
        under_shell: bool = False,
    ) -> None:
        self._master, slave = pty.openpty()
        self.resize(100, 30)
        run = '"$@"; true' if under_shell else 'exec "$@"'
        # A session leader gets the first terminal that it opens.
        script = f'exec <>"$0" >&0 2>&0; {run}'
        self.process = subprocess.Popen(
            ["sh", "-c", script, os.ttyname(slave), *words],
            cwd=folder,
            env={**_without_size(env), "TERM": "xterm-256color"},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        # Held until it has been opened: a terminal without either end is a dead one.
        self._slave: int | None = slave
        self.seen = b""

    def look(self, seconds: float) -> bool:
        """Take what is shown in that time; False once all have let go of the terminal."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._master], [], [], left)[0]:
                if self._slave is not None:
                    os.close(self._slave)
                    self._slave = None
                try:
                    self.seen += os.read(self._master, 65536)
                except OSError:
                    return False
        return True

    def shows(self, text: str) -> bool:
        return text.encode() in self.seen

    def press(self, key: str) -> None:
        self.seen = b""
        os.write(self._master, key.encode())

    def resize(self, columns: int, rows: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def end(self, how: str) -> None:
        for part in how.split():
            if part == "close":
                self.close()
            else:
                self.process.send_signal(signal.Signals[part])

    def close(self) -> None:
        if self._slave is not None:
            os.close(self._slave)
            self._slave = None
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    @property
    def is_open(self) -> bool:
        return self._master >= 0


class Tmux:
    """The same in the one pane of a tmux server of its own."""

    def __init__(self, words: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
        self._command = ["tmux", "-L", f"lmm-{os.getpid()}-{folder.name}"]
        self._env, self._folder = _without_size(env), folder
        self.is_open = True
        size = ("-x", "100", "-y", "30")
        self._tell("-f", os.devnull, "new-session", "-d", *size, shlex.join(words))
        self._server = int(self._tell("display", "-p", "#{pid}") or 0)

    def _tell(self, *words: str) -> str:
        told = [*self._command, *words]
        done = subprocess.run(
            told, cwd=self._folder, env=self._env, capture_output=True, text=True, check=False
        )
        return done.stdout

    def look(self, seconds: float) -> bool:
        time.sleep(seconds)
        return True

    def shows(self, text: str) -> bool:
        return text in self._tell("capture-pane", "-p")

    def press(self, key: str) -> None:
        self._tell("send-keys", "-l", key)

    def resize(self, columns: int, rows: int) -> None:
        self._tell("resize-window", "-x", str(columns), "-y", str(rows))

    def end(self, how: str) -> None:
        if how == "kill" and self._server:
            with suppress(ProcessLookupError):
                os.kill(self._server, signal.SIGKILL)
        self.close()

    def close(self) -> None:
        self._tell("kill-server")
        self.is_open = False


def _without_size(env: Mapping[str, str]) -> dict[str, str]:
    """A size in the environment would count for more than that of the terminal."""
    return {name: env[name] for name in env.keys() - {"COLUMNS", "LINES"}}
