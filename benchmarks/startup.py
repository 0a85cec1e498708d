"""How long a person waits until there is something to see, against an empty Textual app.

Every command is started as a person would, screens in a pseudo-terminal of 200x50; the clock stops
at the first character waited for. The first training step is compared with a bare script that
imports torch and takes one step. The screens behind the digits are each opened for the first time
in a new cockpit.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.made_runs import make_finished_run
from benchmarks.measure import QUICK, medians, report, report_count
from benchmarks.terminal import (
    BARE_APP,
    PROGRAM,
    ROOT,
    TerminalCommand,
    first_curve,
    has_braille,
    user_environment,
)
from lmm_tui.cockpit.keys import SCREENS

TITLE = "startup: time until there is something to see, against an empty Textual app"

ROUNDS = 5
LIMITS = {"--help": 0.6, "alone": 2.2, "monitor": 2.5, "launch": 2.2}
"""Of an empty Textual app's first paint: 0.4 s where that takes 0.18 s; the form takes 2.05."""
LIMIT_FIRST_STEP = 2.0
"""Of a script that imports torch and takes one step; the data is cached."""
LIMIT_SCREEN = 1.8
"""From a digit to the last byte of its screen, of an empty app's first paint."""

_MONITOR = [*PROGRAM, "monitor", "finished"]
_QUIET_S = 0.3
_BARE_STEP = """
import torch
layer = torch.nn.Linear(256, 256)
optimizer = torch.optim.AdamW(layer.parameters())
layer(torch.randn(64, 256)).square().mean().backward()
optimizer.step()
"""
_REPORT_MODULES = """
import atexit, sys
atexit.register(lambda: open({path!r}, "w").write(str("torch" in sys.modules)))
"""


def run() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_finished_run(folder / "runs" / "finished")
        (empty := folder / "empty").mkdir()
        taken = medians(
            {
                "empty app": partial(first_curve, BARE_APP, ROOT),
                "--help": partial(_run_to_end, [*PROGRAM, "--help"]),
                "alone": partial(_form, PROGRAM, empty),
                "monitor": partial(first_curve, _MONITOR, folder),
                "launch": partial(_form, [*PROGRAM, "launch"], folder),
                "bare step": partial(_run_to_end, [sys.executable, "-c", _BARE_STEP]),
                "first step": partial(_first_step, folder),
            },
            ROUNDS,
        )
        for name, limit in LIMITS.items():
            report(f"lmm-tui {name}", taken[name], taken["empty app"], "empty app", at_most=limit)
        report(
            "train --model nano, first step",
            taken["first step"],
            taken["bare step"],
            "bare torch step",
            at_most=LIMIT_FIRST_STEP,
        )
        digits = SCREENS[:3] if QUICK else SCREENS
        screens = medians(
            {name: partial(_open_screen, folder, digit) for digit, name, _ in digits},
            3,
            warm_up=False,
        )
        for name, paint_s in screens.items():
            report(f"screen {name}", paint_s, taken["empty app"], "empty app", at_most=LIMIT_SCREEN)
        report_count("torch imports of a monitor", _torch_imports(folder), 0)


def _run_to_end(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, env=user_environment(), check=True, cwd=ROOT)
    return time.perf_counter() - started


def _form(command: list[str], folder: Path) -> float:
    with TerminalCommand(command, folder) as screen:
        return screen.wait_for(lambda: b"batch size" in screen.seen)


def _first_step(folder: Path) -> float:
    """From `train --model nano` to the first line of metrics; the first call fills the cache."""
    name = f"first-{time.monotonic_ns()}"
    metrics = folder / "runs" / name / "metrics.jsonl"
    settings = f"--model nano --device cpu --name {name} --set data.cache_dir=cache"
    started = time.perf_counter()
    training = subprocess.Popen(
        [*PROGRAM, "train", *settings.split()],
        cwd=folder,
        env=user_environment(),
        stdout=subprocess.DEVNULL,
    )
    while not (metrics.exists() and metrics.stat().st_size):
        time.sleep(0.005)
        if training.poll() is not None:
            raise RuntimeError("training ended before its first step")
    taken = time.perf_counter() - started
    training.kill()
    training.wait()
    return taken


def _open_screen(folder: Path, digit: str) -> float:
    """The dashboard, which is open already, is left first and opened again."""
    with TerminalCommand(_MONITOR, folder) as screen:
        screen.wait_for_curve()
        if digit == SCREENS[0][0]:
            screen.painted(SCREENS[1][0].encode(), _QUIET_S)
        return screen.painted(digit.encode(), _QUIET_S)


def _torch_imports(folder: Path) -> int:
    """Whether a monitor's interpreter has imported torch when it exits."""
    answer = folder / "torch.txt"
    hook = folder / "hook" / "sitecustomize.py"
    hook.parent.mkdir()
    hook.write_text(_REPORT_MODULES.format(path=str(answer)))
    with TerminalCommand(_MONITOR, folder, PYTHONPATH=str(hook.parent)) as screen:
        screen.wait_for(lambda: has_braille(screen.seen))
        screen.press(b"q")
        screen.wait_for_exit()
    return int(answer.read_text() == "True")


if __name__ == "__main__":
    run()
