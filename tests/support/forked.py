"""Programs as processes of their own that need not import torch and ours first: they are forked
from one that has, once for all tests and all workers of a session."""

from __future__ import annotations

import atexit
import json
import os
import pickle
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from repository import ROOT

_IMPORTS = ("readied",)
_LARGE = (
    "lightning.pytorch",
    "lm_eval.evaluator",
    "lmm_tui.engine.evaluation.decoder_lm",
    "peft",
    "transformers.trainer",
)
"""What programs of the whole suite import, some after the other."""
_HERE = Path(__file__).parent
_SERVER = "LMM_TUI_TESTS_FORK_SERVER"
"""Where workers find the server that the session has started."""
_CALL = """
import pickle, sys
function, args = pickle.loads(bytes.fromhex(sys.argv[1]))
function(*args)
"""
_LOCK = threading.Lock()


def _paths() -> str:
    """For what a user gives with `-p`, too."""
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


def start_server() -> None:
    """For this process and those that it starts; it ends with this one."""
    folder = tempfile.mkdtemp(prefix="forks-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[_SERVER] = f"{folder}/asked"
    process = subprocess.Popen(
        [sys.executable, str(_HERE / "fork_server.py"), os.environ[_SERVER]],
        stdin=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": _paths(), "OMP_NUM_THREADS": "1"},
    )
    assert process.stdin is not None
    atexit.register(process.wait)
    atexit.register(process.stdin.close)  # The last registered is the first called.


def start_workers_server(arguments: Sequence[str]) -> str:
    """A `python` for xdist, whose processes begin with the tests of `arguments` imported."""
    start_server()
    socket = _workers_server()
    until_this_process_ends, _ends = os.pipe()
    program = [_HERE / "fork_workers.py", socket, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with Path(os.devnull).open("w") as unseen:
        streams = (until_this_process_ends, unseen.fileno(), 2)
        Forked(program, Path.cwd(), environment, streams=streams)
    os.close(until_this_process_ends)
    if not any(Path(argument.partition("::")[0]).exists() for argument in arguments):
        # While the tests are collected another core has nothing to do.
        Forked(["-c", ""], Path.cwd(), environment, _LARGE)
    return shlex.join([sys.executable, str(_HERE / "forked_python.py"), socket])


def _workers_server() -> str:
    return f"{started_server()}-workers"


def server_with_tests() -> str | None:
    """Where processes are forked from one that has imported all tests, if the session has one."""
    return _workers_server() if Path(_workers_server()).exists() else None


def started_server() -> str:
    """Its path; a process that has it in its environment can ask, too."""
    with _LOCK:
        if _SERVER not in os.environ:
            start_server()
    return os.environ[_SERVER]


def _connected(path: str | None) -> socket.socket:
    path = path or started_server()
    connection = socket.socket(socket.AF_UNIX)
    deadline = time.monotonic() + 300
    while True:  # A server is up a moment after it was started.
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return connection


class Forked:
    """A running program, used as a `subprocess.Popen` would be."""

    def __init__(
        self,
        program: Sequence[str | Path],
        folder: Path,
        env: Mapping[str, str],
        imports: Sequence[str] = (),
        streams: Sequence[int] = (),
        server: str | None = None,
        session: bool = False,
    ) -> None:
        """`program` is what stands behind `python`: a file, `-c CODE` or `-m MODULE`, and its
        arguments. With `session` it leads one of its own, as a child that the product starts; what
        it starts itself is forked, too.

        `imports` are made before it begins, by the process that it is forked from, as those of
        `readied.py` are.
        Without `streams` (input, output, errors) it reads nothing, and what it says is kept.
        """
        self._said = [] if streams else [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115
        self._connection = _connected(server)
        request = {
            "program": [str(part) for part in program],
            "folder": str(folder),
            "env": {**env, _SERVER: os.environ[_SERVER]},
            "imports": [*([] if server else _IMPORTS), *imports],
            "session": session,
        }
        with Path(os.devnull).open() as nothing:
            files = streams or [nothing.fileno(), *(file.fileno() for file in self._said)]
            socket.send_fds(self._connection, [json.dumps(request).encode() + b"\n"], files)
            self._answers = self._connection.makefile("r")
            self.pid = int(self._answers.readline())
        self.returncode: int | None = None

    @classmethod
    def calling(cls, function: Callable[..., object], *args: object) -> Forked:
        """Of a test module's function."""
        what = pickle.dumps((function, args)).hex()
        return cls(["-c", _CALL, what], Path.cwd(), os.environ, [function.__module__])

    def poll(self) -> int | None:
        if self.returncode is None and self._has_answered(0):
            self.returncode = int(self._answers.readline())
        return self.returncode

    def wait(self, timeout: float | None = 240) -> int:
        """Its exit code; what has not ended in time is killed, and TimeoutExpired raised."""
        if self.returncode is None:
            if not self._has_answered(timeout):
                self.kill()
                raise subprocess.TimeoutExpired("forked", timeout or 0)
            self.returncode = int(self._answers.readline())
        return self.returncode

    def _has_answered(self, timeout: float | None) -> bool:
        waiting = select.poll()  # Unlike `select`, for any number of open files.
        waiting.register(self._connection, select.POLLIN)
        return bool(waiting.poll(None if timeout is None else timeout * 1000))

    def communicate(self, timeout: float | None = 240) -> tuple[str, str]:
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
