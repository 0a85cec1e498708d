"""What hostile clients of the control socket cost a run: 10,000 messages while it trains.

Broken bytes, endless lines, wrong types, commands that do not exist and values that nobody may
set, from clients that hang up, dawdle or never read. Quiet and hostile windows take turns on one
run, so that a machine that drifts does so in both. The limit is on processor seconds a step, which
hold on a busy machine as well. None of the messages may
change anything.
"""

from __future__ import annotations

import json
import random
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks.measure import QUICK, report, report_count
from benchmarks.terminal import PROGRAM, user_environment
from lmm_tui.engine.run.control_client import send
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir

TITLE = "hostile: a run under 10,000 hostile messages misses no step and keeps its speed"

MESSAGES = 500 if QUICK else 10_000
LIMIT = 1.03
SEED = 5

_WINDOW_S = 2.5
_A_WINDOW = 250
"""Messages in one: as many as the socket takes in the long run, and no burst between rests."""
_PATIENCE_S = 120.0
_A_CLIENT = 40
"""Messages of one client before it hangs up."""
_SETTINGS = {
    "data.cache_dir": "'cache'",
    "train.threads": "1",
    "train.batch_size": "1",
    "data.seq_len": "128",
    "data.builtin_mb": "0.2",
    "log.val_every": "0",
    "log.probe_every": "0",
    "log.sample_every": "0",
    "log.checkpoint_every": "0",
    "log.tensorboard": "false",
}


def run() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        training = _start(folder)
        try:
            _attack(RunDir(folder / "runs" / "hostile"))
        finally:
            training.kill()
            training.wait()


def hostile_message(dice: random.Random) -> bytes:
    """A line, or more or less than one, that no run may obey."""
    choice = dice.randrange(9)
    if choice == 0:
        return dice.randbytes(dice.randrange(1, 400)) + b"\n"
    if choice == 1:
        return b"[" * dice.randrange(1, 30_000) + b"\n"
    if choice == 2:
        return b'{"command": "\xff\xfe\x1b]52;c;aGk=\x07"}\n'
    if choice == 3:
        return b"x" * dice.choice((10, 60_000, 70_000)) + dice.choice((b"", b"\n"))
    args = dice.choice(
        (
            {"lr": -1},
            {"lr": float("nan")},
            {"clip": 10**400},
            {"lr": [1]},
            {"mood": 1},
            {"../../etc/passwd": "\x1b[2J"},
            {},
        )
    )
    wrong: object = dice.choice(
        (
            {"command": "set", "args": args},
            {"command": "sample", "args": {"max_tokens": dice.choice((10**9, -1, "many", None))}},
            {"command": "evaluate", "args": {"tasks": "../../etc/passwd"}},
            {"command": dice.choice(("dance", "", "__class__", "stop\0")), "args": {}},
            {"command": dice.choice((None, 1, [], {})), "args": []},
            {"args": {"command": "stop"}},
        )
    )
    return json.dumps(wrong).encode() + b"\n"


def _start(folder: Path) -> subprocess.Popen[bytes]:
    settings = [word for key, value in _SETTINGS.items() for word in ("--set", f"{key}={value}")]
    flags = ["train", "--device", "cpu", "--steps", "1000000", "--name", "hostile", *settings]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [*PROGRAM, *flags],
            cwd=folder,
            env=user_environment() | {"OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=log,
        )


def _attack(run: RunDir) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while run.read_status().step < 50:
        if time.monotonic() > deadline:
            raise TimeoutError(run.read_status())
        time.sleep(0.1)
    before = run.config.read_bytes()
    crowd = _Crowd(run.socket_path())
    quiet, hostile = [], []
    while crowd.sent < MESSAGES:
        quiet.append(_window(run, time.sleep))
        hostile.append(_window(run, crowd.send_for))
    reply = send(run.socket_path(), "stop")
    session = Reader(run.path)
    session.poll()
    loss = session.series.get("train/loss")
    assert loss is not None and reply.ok, reply
    done = [
        event for event in session.events if event.kind == "command" and event.details.get("ok")
    ]
    print(f"seed {SEED}: {crowd.sent} messages in {len(hostile)} windows of {_WINDOW_S} s")
    ratios = [after / alone for alone, after in zip(quiet, hostile, strict=True)]
    at = ratios.index(statistics.median_low(ratios))
    report("processor time of a step", 1e3 * hostile[at], 1e3 * quiet[at], "quiet", unit="ms",
           at_most=LIMIT)  # fmt: skip
    wanted = set(range(1, reply.step + 1))
    report_count("steps missing or twice", len(wanted ^ set(loss.steps.tolist())), 0)
    report_count("messages obeyed", len(done), 0)
    report_count("settings changed", int(run.config.read_bytes() != before), 0)


def _window(run: RunDir, meanwhile: Callable[[float], None]) -> float:
    """Processor seconds of a step in a window of time."""
    process = psutil.Process(run.read_info().pid)
    rows, used = _rows(run), sum(process.cpu_times()[:2])
    meanwhile(_WINDOW_S)
    return float(sum(process.cpu_times()[:2]) - used) / max(_rows(run) - rows, 1)


def _rows(run: RunDir) -> int:
    return run.metrics.read_bytes().count(b"\n")


class _Crowd:
    """Hostile clients, one after the other, until all messages are sent."""

    def __init__(self, path: Path) -> None:
        self.sent = 0
        self._path = path
        self._dice = random.Random(SEED)

    def send_for(self, seconds: float) -> None:
        """For so long, even where all is sent before."""
        end = time.monotonic() + seconds
        most = min(self.sent + _A_WINDOW, MESSAGES)
        while (left := end - time.monotonic()) > 0 and self.sent < most:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(max(left, 0.01))
                try:
                    client.connect(str(self._path))
                    self._talk(client)
                except OSError:
                    continue  # Dropped, or made to wait until the window was over.
        time.sleep(max(end - time.monotonic(), 0))

    def _talk(self, client: socket.socket) -> None:
        for _ in range(min(_A_CLIENT, MESSAGES - self.sent)):
            client.sendall(hostile_message(self._dice))
            self.sent += 1
        if self._dice.random() < 0.5:
            client.recv(4096)


if __name__ == "__main__":
    run()
