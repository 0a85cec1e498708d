"""A real sshd on loopback: launch over ssh, cut the connection, attach again, stop.

The server has a port, keys and a configuration of its own and is gone afterwards. Needs sshd and
ssh (Debian: openssh-server, openssh-client), which is why it is no test. What counts is that no
step waits for the connection that is gone, and that the run obeys the next connection.
"""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import psutil

from benchmarks.measure import report, report_count
from benchmarks.terminal import TerminalCommand
from lmm_tui.engine.run.checkpoint_names import list_checkpoints
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir

TITLE = "over_ssh: a run launched over ssh outlives its connection and obeys the next one"

LIMIT_GAP = 100.0
"""Longest time between two steps, in median steps: a step takes milliseconds."""

_PATIENCE_S = 120.0
_SETTINGS = "--steps 1000000 --model nano --device cpu --name far --set data.seq_len=64"


def run() -> None:
    server = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if server is None or shutil.which("ssh") is None:
        raise RuntimeError("needs sshd and ssh: apt-get install openssh-server openssh-client")
    with tempfile.TemporaryDirectory() as place, _served(server, Path(place)) as ssh:
        _cut_and_return(ssh, Path(place))


def _cut_and_return(ssh: list[str], place: Path) -> None:
    far = RunDir(place / "runs" / "far")
    with TerminalCommand([*ssh, _remote(place, f"launch -y {_SETTINGS}")], place) as screen:
        screen.wait_for(lambda: far.exists() and far.read_status().step > 20)
        trainer = psutil.Process(far.read_info().pid)
        at = far.read_status().step
        # Cut, not closed: leaving the block kills the client, which cannot end its session.
    _wait(lambda: Path(f"/proc/{trainer.pid}/fd/0").readlink() == Path(os.devnull))
    _wait(lambda: far.read_status().step > at + 50)
    with TerminalCommand([*ssh, _remote(place, "monitor far")], place) as screen:
        screen.wait_for(lambda: b"RUNNING" in screen.seen)
        screen.press(b"q")
        screen.wait_for(lambda: b"Stop after this step" in screen.seen)
        screen.press(b"s")
        screen.wait_for_exit()
    _wait(lambda: not trainer.is_running())
    session = Reader(far.path)
    session.poll()
    loss = session.series.get("train/loss")
    assert loss is not None
    status = session.view.status
    print(f"cut at step {at}, {status.state} by the next connection at step {status.step}")
    wanted = set(range(1, status.step + 1))
    report_count("steps missing or twice", len(wanted ^ set(loss.steps.tolist())), 0)
    saved = [path.name for path in list_checkpoints(far.checkpoints)]
    report_count(
        "checkpoints of the end", sum(it.endswith(f"{status.step:09d}") for it in saved), 1
    )
    gaps = [1e3 * (after - before) for before, after in pairwise(loss.times.tolist())]
    report("longest time between two steps", max(gaps), statistics.median(gaps), "median step",
           unit="ms", at_most=LIMIT_GAP)  # fmt: skip


def _wait(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)


def _remote(place: Path, words: str) -> str:
    program = shlex.join([sys.executable, "-c", "from lmm_tui.cli.main import main; main()"])
    return f"cd {shlex.quote(str(place))} && OMP_NUM_THREADS=1 exec {program} {words}"


@contextmanager
def _served(server: str, place: Path) -> Iterator[list[str]]:
    """The arguments that run a command over ssh, with a terminal, while the server is up."""
    for key in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / key)], check=True
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "ListenAddress": "127.0.0.1",
        "Port": port,
        "HostKey": place / "host",
        "AuthorizedKeysFile": place / "user.pub",
        "PidFile": place / "pid",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
    }
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # Where it locks itself in before a login.
    options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    # -f: nothing of the machine's own configuration.
    running = subprocess.Popen([server, "-D", "-f", os.devnull, "-E", str(place / "log"), *options])
    try:
        known = ("StrictHostKeyChecking=no", f"UserKnownHostsFile={os.devnull}", "LogLevel=ERROR")
        words = ["ssh", "-tt", "-p", str(port), "-i", str(place / "user")]
        words += [word for option in known for word in ("-o", option)]
        _wait(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        yield [*words, f"{getpass.getuser()}@127.0.0.1"]
    finally:
        running.terminate()
        running.wait()


if __name__ == "__main__":
    run()
