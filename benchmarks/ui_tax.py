"""What a screen costs: the training it shares a process with, and the machine it merely watches on.

The training part trains `nano` in one process and opens and leaves the dashboard in turns, so that
a busy machine hits both alike; the speed of a turn is that of the steps between its first and its
last logged row. The watching parts run `lmm-tui monitor` and read its processor time and bytes.
All screens are pseudo-terminals of 200x50 that nobody looks at.
"""

from __future__ import annotations

import json
import os
import select
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.live_run import HISTORY, SCALARS, STEPS_PER_S, training
from benchmarks.terminal import make_finished_run, start_in_terminal
from lmm_tui.cli.launcher import SWITCH_INTERVAL_S
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.messages import Departure
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.training.run_host import EngineHost
from lmm_tui.runs.session import RunSession
from lmm_tui.terminal.capture import Terminal
from lmm_tui.textual_patches.install import install

TITLE = "dashboard: its cost beside training, beside a live run, beside nothing"

LIMIT_SPEED = 0.97
LIMIT_IDLE, LIMIT_LIVE = 0.005, 0.05
LIMIT_BYTES_PER_S = 10_000.0

TURNS = 21
STEPS_A_TURN, SECONDS_A_TURN = 6, 2.0
"""A turn has at least so many steps and lasts at least so long: short, for machines drift."""
WATCH_S = 12.0
SETTLE_S = 3.0


@dataclass(frozen=True)
class Cost:
    cpu: float
    """Of one core."""
    bytes_per_s: float


def run() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        speed = _speed_beside_training(folder)
        idle = _watch_finished(folder)
        live = _watch_live(folder)
    print(f"tokens/s with / without dashboard   limit {LIMIT_SPEED}  measured {speed:.3f}")
    print(f"idle on a finished run   limit {LIMIT_IDLE:.1%} of a core  measured {_words(idle)}")
    print(f"live, {STEPS_PER_S} steps/s x {SCALARS}   limit {LIMIT_LIVE:.0%} of a core", end="  ")
    print(f"and {LIMIT_BYTES_PER_S / 1000:.0f} kB/s  measured {_words(live)}")
    shares = {
        "training": LIMIT_SPEED / speed,
        "idle": idle.cpu / LIMIT_IDLE,
        "live": live.cpu / LIMIT_LIVE,
        "bytes": live.bytes_per_s / LIMIT_BYTES_PER_S,
    }
    worst = max(shares, key=lambda name: shares[name])
    verdict = "PASS" if shares[worst] <= 1 else "FAIL"
    print(f"limit 1.00 of every budget  measured {shares[worst]:.2f} ({worst})  {verdict}")


def _words(cost: Cost) -> str:
    return f"{cost.cpu:.2%}, {cost.bytes_per_s / 1000:.1f} kB/s"


class _Screen:
    """A command in a terminal of 200x50 whose output is read and counted."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.bytes = 0
        self._seen = b""
        self.process, self._terminal = start_in_terminal(command, folder)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, text: bytes, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while text not in self._seen:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(self._seen[-2000:].decode("utf-8", "replace"))
            time.sleep(0.02)

    def cost(self, seconds: float) -> Cost:
        process = psutil.Process(self.process.pid)
        cpu, count, start = sum(process.cpu_times()[:2]), self.bytes, time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - start
        return Cost((sum(process.cpu_times()[:2]) - cpu) / took, (self.bytes - count) / took)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        os.close(self._terminal)

    def _read(self) -> None:
        while self.process.poll() is None:
            if select.select([self._terminal], [], [], 0.2)[0]:
                try:
                    data = os.read(self._terminal, 1 << 16)
                except OSError:
                    return
                self.bytes += len(data)
                self._seen = (self._seen + data)[-1_000_000:]


def _speed_beside_training(folder: Path) -> float:
    """Speed with the dashboard over speed without it."""
    report = folder / "turns.json"
    program = f"from benchmarks.ui_tax import train_in_turns; train_in_turns({str(report)!r})"
    root = Path(__file__).resolve().parents[1]
    screen = _Screen([sys.executable, "-c", program], root)
    try:
        screen.process.wait()
    finally:
        screen.close()
    turns = json.loads(report.read_text())
    pairs = list(zip(turns["with"], turns["without"], strict=True))
    for beside, alone in pairs:
        print(f"{beside:8.0f} tokens/s with the dashboard, {alone:8.0f} without", flush=True)
    return statistics.median(beside / alone for beside, alone in pairs)


def train_in_turns(report: str) -> None:
    """The training process: opens and leaves the dashboard while training goes on."""
    from lmm_tui.engine.config.resolve import resolve

    install()
    never = {f"log.{name}_every": 0 for name in ("val", "probe", "sample", "checkpoint")}
    with tempfile.TemporaryDirectory() as folder, Terminal() as terminal:
        settings = {"runs_dir": folder, "device": "cpu", "train.steps": 1_000_000, **never}
        host = EngineHost(resolve(assignments={**settings, "log.tensorboard": False}))
        terminal.redirect(host.run_dir.output)
        host.start()
        turns = _Turns(host)
        turns.wait_for(3)
        speeds: dict[str, list[float]] = {"with": [], "without": []}
        usual = sys.getswitchinterval()
        for _ in range(TURNS):
            app = CockpitApp(RunSession(host.run_dir.path), owned=True, terminal=terminal)
            watcher = threading.Thread(target=lambda app=app: turns.take_and_leave(app))
            sys.setswitchinterval(SWITCH_INTERVAL_S)
            watcher.start()
            app.run()
            watcher.join()
            sys.setswitchinterval(usual)
            speeds["with"].append(turns.speed())
            turns.take()
            speeds["without"].append(turns.speed())
        Path(report).write_text(json.dumps(speeds))
        host.stop()
        host.join()


class _Turns:
    """Takes the speed of stretches of a run that is going on."""

    def __init__(self, host: EngineHost) -> None:
        self._host = host
        self._first = self._last = 0

    @property
    def _step(self) -> int:
        return self._host.status.status.step

    def wait_for(self, steps: int) -> None:
        wanted = self._step + steps
        while self._step < wanted:
            time.sleep(0.02)

    def take(self) -> None:
        """Let a turn go by, its first step left out: something else may have cut into it."""
        self.wait_for(1)
        self._first, began = self._step, time.monotonic()
        self.wait_for(STEPS_A_TURN)
        time.sleep(max(began + SECONDS_A_TURN - time.monotonic(), 0))
        self._last = self._step

    def take_and_leave(self, app: CockpitApp) -> None:
        self.wait_for(1)  # The first paint is no part of the tax.
        self.take()
        app.leave_soon(Departure.DETACH)

    def speed(self) -> float:
        """Tokens a second of the turn taken last."""
        lines = self._host.run_dir.metrics.read_bytes().splitlines()
        rows = {row["step"]: row for row in map(json.loads, lines)}
        first, last = rows[self._first], rows[self._last]
        return float((last["tokens"] - first["tokens"]) / (last["time"] - first["time"]))


def _watch_finished(folder: Path) -> Cost:
    make_finished_run(folder / "finished", HISTORY)
    return _watch(RunDir(folder / "finished"))


def _watch_live(folder: Path) -> Cost:
    """A run that began a while ago: the x axis of a young one grows all the time."""
    make_finished_run(folder / "live", HISTORY)
    run = RunDir(folder / "live")
    with training(run):
        return _watch(run)


def _watch(run: RunDir) -> Cost:
    program = "import sys; from lmm_tui.cli.main.main import run; sys.exit(run(sys.argv[1:]))"
    screen = _Screen([sys.executable, "-c", program, "monitor", str(run.path)], run.path)
    try:
        screen.wait_for(b"learning rate")
        time.sleep(SETTLE_S)
        return screen.cost(WATCH_S)
    finally:
        screen.close()


if __name__ == "__main__":
    run()
