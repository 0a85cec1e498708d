"""What a screen costs: the training in its process, and the machine it watches a run on.

The training part trains `nano` in one process and opens and leaves the dashboard in turns, so that
a busy machine hits both alike; the speed of a turn is that of the steps between its first and its
last logged row. The watching parts compare the processor time of `lmm-tui monitor` with that of a
bare Textual app: one with an idle timer of the same period beside a finished run, one that repaints
everything twice a second beside a live run. All screens are pseudo-terminals of 200x50.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.made_runs import SCALARS, STEPS_PER_S, live, make_finished_run
from benchmarks.measure import QUICK, report, rounds
from benchmarks.terminal import BARE_APP, PROGRAM, ROOT, TerminalCommand
from lmm_tui.cli.launcher import SWITCH_INTERVAL_S
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.messages import Departure
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.training.run_host import EngineHost
from lmm_tui.terminal.capture import Terminal
from lmm_tui.textual_patches.install import install

TITLE = "ui_tax: the dashboard beside training, a live run and a finished one, against bare apps"

LIMIT_SPEED = 0.97
LIMIT_IDLE, LIMIT_LIVE = 3.0, 2.0

TURNS = 21
STEPS_A_TURN, SECONDS_A_TURN = 6, 2.0
"""A turn has at least so many steps and lasts at least so long: short, for machines drift."""
WATCH_S, SETTLE_S = (3.0, 1.0) if QUICK else (12.0, 3.0)
REPAINTS_PER_S = 2.0
"""As often as the dashboard may redraw its charts."""


def run() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        beside, alone = _speeds(folder / "turns.json")
        report("training beside a dashboard", beside, alone, "without", unit="tokens/s",
               at_least=LIMIT_SPEED)  # fmt: skip
        watched = make_finished_run(folder / "watched")
        monitor = [*PROGRAM, "monitor", str(watched.path)]
        idle = _processor_share(monitor)
        with live(watched):
            busy = _processor_share(monitor)
    polling = _processor_share([*BARE_APP, "poll"])
    repainting = _processor_share([*BARE_APP, "repaint", str(REPAINTS_PER_S)])
    report("beside a finished run", 100 * idle, 100 * polling, "polling app", unit="%",
           at_most=LIMIT_IDLE)  # fmt: skip
    report(f"beside {STEPS_PER_S} steps/s x {SCALARS}", 100 * busy, 100 * repainting,
           "repainting app", unit="%", at_most=LIMIT_LIVE)  # fmt: skip


def _processor_share(command: list[str]) -> float:
    """Processor time of a settled screen, as a share of one core."""
    with TerminalCommand(command, ROOT) as screen:
        screen.wait_for_curve()
        screen.read_for(SETTLE_S)
        before, start = _processor_s(screen.process.pid), time.monotonic()
        screen.read_for(WATCH_S)
        return (_processor_s(screen.process.pid) - before) / (time.monotonic() - start)


def _processor_s(pid: int) -> float:
    """Of all threads, in nanoseconds from the scheduler: idle screens take less than a tick."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def _speeds(answer: Path) -> tuple[float, float]:
    """Tokens a second with the dashboard, and without it: of the pair with the median ratio."""
    program = f"from benchmarks.ui_tax import train_in_turns; train_in_turns({str(answer)!r})"
    with TerminalCommand([sys.executable, "-c", program], ROOT) as screen:
        screen.wait_for_exit()
    pairs: list[tuple[float, float]] = json.loads(answer.read_text())
    ratios = [beside / alone for beside, alone in pairs]
    print("  ".join(f"{ratio:.3f}" for ratio in ratios))
    at = ratios.index(statistics.median_low(ratios))
    return pairs[at][0], pairs[at][1]


def train_in_turns(answer: str) -> None:
    """The training process: opens and leaves the dashboard while training runs."""
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
        speeds: list[tuple[float, float]] = []
        default = sys.getswitchinterval()
        for _ in range(rounds(TURNS)):
            app = CockpitApp(Reader(host.run_dir.path), owned=True, terminal=terminal)
            watcher = threading.Thread(target=turns.take_and_leave, args=(app,))
            sys.setswitchinterval(SWITCH_INTERVAL_S)
            watcher.start()
            app.run()
            watcher.join()
            sys.setswitchinterval(default)
            beside = turns.speed()
            turns.take()
            speeds.append((beside, turns.speed()))
        Path(answer).write_text(json.dumps(speeds))
        host.stop()
        host.join()


class _Turns:
    """Measures the speed of stretches of a run in progress."""

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
        """Let a turn pass; its first step is left out, as something else may have cut into it."""
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


if __name__ == "__main__":
    run()
