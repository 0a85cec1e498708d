"""A real sshd on loopback: launch over ssh, cut the connection, attach again, stop.

The server has a port, keys and a configuration of its own and is gone afterwards. Needs sshd and
ssh (Debian: openssh-server, openssh-client), which is why it is no test. What counts is that no
step waits for the connection that is gone, and that the run obeys whoever comes next.
"""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.terminal import start_in_terminal
from lmm_tui.engine.run.checkpoint_names import list_checkpoints
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.runs.session import RunSession

TITLE = "over_ssh: a run launched over ssh outlives its connection and obeys the next one"

LIMIT_GAP_S = 2.0
"""Between two steps around the cut; a step takes milliseconds, a screen that goes some more."""

_PATIENCE_S = 60.0
_SETTINGS = "--steps 1000000 --model nano --device cpu --name far --set data.seq_len=64"


def run() -> None:
    server = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if server is None or shutil.which("ssh") is None:
        raise RuntimeError("needs sshd and ssh: apt-get install openssh-server openssh-client")
    with tempfile.TemporaryDirectory() as place, _served(server, Path(place)) as ssh:
        passed = _cut_and_come_back(ssh, Path(place))
    print(f"limit {LIMIT_GAP_S:.0f} s between steps  {'PASS' if passed else 'FAIL'}")


def _cut_and_come_back(ssh: list[str], place: Path) -> bool:
    far = RunDir(place / "runs" / "far")
    first, terminal = start_in_terminal([*ssh, _remote(place, f"launch -y {_SETTINGS}")], place)
    drain = _Drain(terminal)
    drain.until(lambda: far.exists() and far.read_status().step > 20)
    trainer = psutil.Process(far.read_info().pid)
    at = far.read_status().step
    # Cut, not closed: the client has no time to say goodbye.
    first.send_signal(signal.SIGKILL)
    first.wait()
    os.close(terminal)
    _wait(lambda: Path(f"/proc/{trainer.pid}/fd/0").readlink() == Path(os.devnull))
    _wait(lambda: far.read_status().step > at + 50)
    second, terminal = start_in_terminal([*ssh, _remote(place, "monitor far")], place)
    drain = _Drain(terminal)
    drain.until(lambda: b"RUNNING" in drain.seen)
    os.write(terminal, b"q")
    drain.until(lambda: b"Stop after this step" in drain.seen)
    os.write(terminal, b"s")
    drain.until(lambda: far.read_status().state == "stopped" or second.poll() is not None)
    _wait(lambda: not trainer.is_running())
    session = RunSession(far.path)
    session.poll()
    loss = session.series.get("train/loss")
    assert loss is not None
    gaps = [
        float(later - sooner) for sooner, later in zip(loss.times, loss.times[1:], strict=False)
    ]
    status = session.view.status
    whole = loss.steps.tolist() == list(range(1, status.step + 1))
    saved = list_checkpoints(far.checkpoints)
    stopped = status.state == "stopped" and saved and saved[-1].name.endswith(f"{status.step:09d}")
    print(
        f"cut at step {at}, stopped by the next connection at step {status.step}; "
        f"{'no step' if whole else 'STEPS'} missing, longest gap {max(gaps):.2f} s; "
        f"checkpoint of the end {'saved' if stopped else 'MISSING'}"
    )
    return whole and bool(stopped) and max(gaps) <= LIMIT_GAP_S


class _Drain:
    """Reads a terminal, so that whoever writes to it is not held up."""

    def __init__(self, terminal: int) -> None:
        self.seen = b""
        self._terminal = terminal
        os.set_blocking(terminal, False)

    def until(self, ready: Callable[[], bool]) -> None:
        """Raises TimeoutError with the last that was seen."""

        def read_and_ask() -> bool:
            try:
                self.seen += os.read(self._terminal, 1 << 16)
            except OSError:  # Nothing there, or nobody.
                pass
            return ready()

        _wait(read_and_ask, lambda: self.seen[-1500:].decode("utf-8", "replace"))


def _wait(ready: Callable[[], bool], why: Callable[[], str] = lambda: "") -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(why())
        time.sleep(0.02)


def _remote(place: Path, words: str) -> str:
    program = shlex.join([sys.executable, "-c", "from lmm_tui.cli.main import main; main()"])
    return f"cd {shlex.quote(str(place))} && OMP_NUM_THREADS=1 exec {program} {words}"


@contextmanager
def _served(server: str, place: Path) -> Iterator[list[str]]:
    """The words that run a command over ssh, with a terminal, while the server is up."""
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
