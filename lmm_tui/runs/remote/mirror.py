"""Mirrors a run on another machine into a local run directory, over one ssh process.

Everything that opens a run can open the mirror; commands to its socket are forwarded to the run. A
broken connection, or one over which something odd came, is opened again and continues at the same
offsets; meanwhile the run is `stale`.
"""

from __future__ import annotations

import json
import re
import shlex
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from lmm_tui.engine.run.control_mailbox import Mailbox, Reply, Request
from lmm_tui.engine.run.control_server import ControlServer
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.message import Message, os_reason
from lmm_tui.runs.remote.messages import (
    Answer,
    FromRun,
    Growth,
    InfoUpdate,
    Refusal,
    StatusUpdate,
    WireError,
    from_run,
)
from lmm_tui.runs.remote.mirror_folder import MirrorFolder, RemoteError
from lmm_tui.runs.remote.protocol import Receiver
from lmm_tui.runs.remote.ssh_process import SshProcess
from lmm_tui.terminal.safe_text import clean

_REMOTE = re.compile(r"(?P<host>(?:[\w.+][\w.+-]*@)?[\w.][\w.-]*):(?P<path>.+)")
"""Nothing that a shell or ssh would take for more than a name."""
SSH = ("ssh", "-T", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=2")
_FIRST_S = 60.0
_LONGEST_PAUSE_S = 15.0
_LOOK_S = 0.2
"""Between two looks for a signal while the first connection is made."""
_PATIENCE_S = 2.0
_REST_S = 0.02
"""After a message that replaces something; a run sends fifteen a second at most."""
_LONGEST_WORDS = 300


def is_remote(name: str) -> bool:
    """Whether a name is `user@host:path` or `host:path` and not a local file."""
    return _REMOTE.fullmatch(name) is not None and not Path(name).exists()


@contextmanager
def mirrored(name: str, early: Sequence[int] = ()) -> Iterator[RunDir]:
    """Mirror the run at `user@host:path` within the block.

    Raises RemoteError if it cannot be reached, SystemExit once there is a number in `early`, which
    `early_signals` yields.
    """
    given = _REMOTE.fullmatch(name)
    assert given is not None
    with tempfile.TemporaryDirectory(prefix="lmm-") as folder:
        mirror = RunMirror(given["host"], given["path"], RunDir(folder))
        try:
            mirror.open(early)
            yield mirror.run_dir
        finally:
            mirror.close()


class RunMirror:
    """Keeps a local run directory equal to a remote one."""

    def __init__(self, host: str, path: str, run_dir: RunDir, *, quiet: bool = False) -> None:
        """`quiet`: a password is never asked for."""
        self.run_dir = run_dir
        self._quiet = quiet
        self._target = [host, f"lmm-tui serve-run {shlex.quote(path)}"]
        self._name = f"{host}:{path}"
        self._first = threading.Event()
        self._ended = threading.Event()
        self._trouble = ""
        self._ssh: SshProcess | None = None
        self._starting = threading.Lock()
        self._writing = threading.Lock()
        self._numbers = count()
        self._asked: dict[int, Request] = {}
        self._mailbox = Mailbox()
        self._server = ControlServer(self._mailbox, run_dir.socket_path())
        self._folder = MirrorFolder(run_dir, self._server.path)
        self._threads = [
            threading.Thread(target=work, name="remote", daemon=True)
            for work in (self._stay_connected, self._forward)
        ]

    def open(self, early: Sequence[int]) -> None:
        """Connect, and wait until the run is here or a signal came; raises as `mirrored` does."""
        for thread in self._threads:
            thread.start()
        deadline = time.monotonic() + _FIRST_S
        while not (here := self._first.wait(_LOOK_S)) and time.monotonic() < deadline:
            if early:
                raise SystemExit(128 + early[0])
        if not here or self._trouble:
            why = self._trouble or f"nothing came within {_FIRST_S:.0f} s"
            raise RemoteError("{name}: {why}", name=self._name, why=why)

    def close(self) -> None:
        self._ended.set()
        self._mailbox.close()
        self._server.close()
        with self._starting:  # From now on none is started any more.
            ssh = self._ssh
        if ssh is not None:
            ssh.end()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(_PATIENCE_S)

    def _stay_connected(self) -> None:
        pause = 0.5
        while not self._ended.is_set():
            begun = time.monotonic()
            why = self._connect()
            self._drop_asked()
            if not self._first.is_set():
                self._trouble = why
                self._first.set()
                return
            self._folder.tell_lost(why)
            if time.monotonic() - begun > _LONGEST_PAUSE_S:
                pause = 0.5
            self._ended.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _connect(self) -> str:
        """Run one connection until it ends; returns the reason."""
        # While the cockpit owns the terminal, ssh cannot prompt for a password.
        quiet = ["-o", "BatchMode=yes"] if self._quiet or self._first.is_set() else []
        try:
            with self._starting:
                if self._ended.is_set():
                    return ""
                self._ssh = ssh = SshProcess([*SSH, *quiet, "--", *self._target])
        except OSError as error:
            return Message("ssh cannot be started ({error}); install it", error=os_reason(error))
        try:
            refusal = self._receive(ssh)
        except WireError as error:
            refusal = Message(
                "the far end sent {error}; update lmm-tui on both machines", error=error
            )
        except LmmError as error:
            refusal = str(error)
        except OSError as error:
            refusal = Message(
                "{folder}: {error}; the run cannot be mirrored there",
                folder=tempfile.gettempdir(),
                error=os_reason(error),
            )
        except Exception as error:  # Whatever a message does, the next connection is made.
            refusal = Message(
                "what the far end sent cannot be followed ({name})", name=type(error).__name__
            )
        finally:
            ssh.end()
        why = refusal or ssh.last_words()
        if isinstance(why, Message) and len(why) <= _LONGEST_WORDS:
            return why
        return clean(why)[:_LONGEST_WORDS] or Message("the connection ended; try ssh by itself")

    def _receive(self, ssh: SshProcess) -> str:
        """Take what comes; returns the far end's refusal, if that ended it."""
        self._write({"have": self._folder.sizes()})
        for line in Receiver(ssh.output):
            message = from_run(line)
            if isinstance(message, Refusal):
                return message.error
            self._take(message)
        return ""

    def _take(self, message: FromRun) -> None:
        match message:
            case Answer(number, reply):
                request = self._asked.pop(number, None)
                if request is None:
                    raise WireError("a reply that nobody waits for")
                request.answer(reply)
            case InfoUpdate() | StatusUpdate() | Growth():
                self._folder.take(message)
                if isinstance(message, StatusUpdate) and self.run_dir.exists():
                    self._first.set()
                if self._folder.replaced:
                    self._ended.wait(_REST_S)

    def _forward(self) -> None:
        """Forward the commands that arrive at the mirror's socket."""
        while not self._ended.is_set():
            request = self._mailbox.take(0.5)
            if request is None:
                continue
            number = next(self._numbers)
            self._asked[number] = request
            sent = {"id": number, "command": request.command, "args": request.args}
            if not self._write(sent):
                self._drop_asked()

    def _write(self, message: dict[str, Any]) -> bool:
        with self._writing:
            line = json.dumps(message).encode() + b"\n"
            return self._ssh is not None and self._ssh.write(line)

    def _drop_asked(self) -> None:
        while self._asked:
            _, request = self._asked.popitem()
            request.answer(
                Reply(
                    False,
                    Message("no connection to {name}: it may not have arrived", name=self._name),
                )
            )


if __name__ == "__main__":
    for shown in ("me@box:runs/mine", "box:/data/run", "runs/mine", "./a:b", "-x:y"):
        print(shown, is_remote(shown))
    assert is_remote("me@box:runs/mine") and not is_remote("runs/mine")
    print("=== 自测通过 ===")
