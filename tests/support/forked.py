"""Scripts as processes of their own that need not import torch and ours first: they are forked
from one that has, once for all tests of a worker."""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from repository import ROOT

_IMPORTS = ("torch", "torch.distributed", "lmm_tui.engine.instrument.script_run")
_LOCK = threading.Lock()


@functools.cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/support/fork_server.py")],
        stdin=theirs.fileno(),
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    theirs.close()
    atexit.register(process.wait)
    atexit.register(ours.close)  # The last registered is the first called.
    return ours


def _ask(request: Mapping[str, Any], files: Sequence[int] = ()) -> Any:
    with _LOCK:
        server = _server()
        socket.send_fds(server, [json.dumps(request).encode()], files)
        return json.loads(server.recv(100))


class Forked:
    """A running script, used as a `subprocess.Popen` with pipes would be."""

    def __init__(
        self,
        script: Path,
        args: Sequence[str],
        folder: Path,
        env: Mapping[str, str],
        imports: Sequence[str] = (),
    ) -> None:
        """`imports` are made before it begins, by the process that it is forked from."""
        self._said = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115
        request = {
            "script": str(script),
            "args": list(args),
            "folder": str(folder),
            "env": dict(env),
            "imports": [*_IMPORTS, *imports],
        }
        self.pid: int = _ask(request, [file.fileno() for file in self._said])
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = _ask({"poll": self.pid})
        return self.returncode

    def wait(self, timeout: float = 240) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("script", timeout)
            time.sleep(0.01)
        return code

    def communicate(self, timeout: float = 240) -> tuple[str, str]:
        """Standard output and error, once it has ended."""
        self.wait(timeout)
        for file in self._said:
            file.seek(0)
        out, err = (file.read().decode() for file in self._said)
        return out, err

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
