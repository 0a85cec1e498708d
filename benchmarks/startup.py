"""How long a person waits for the first thing to see: help, a monitor, the forms, the first step.

Every command is started as a person would, the screens in a pseudo-terminal of 200x50; the clock
stops when what was waited for appears. That the monitor never imports torch is asked of its own
interpreter when it exits.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.terminal import Screen, has_braille, make_finished_run, ordinary_environment

TITLE = "startup: seconds until there is something to see"

ROUNDS = 5
_PROGRAM = [sys.executable, "-c", "from lmm_tui.cli.main import main; main()"]
_CONFIGURE_TEXT = b"batch size"
_REPORT_MODULES = """
import atexit, sys
atexit.register(lambda: open({path!r}, "w").write(str("torch" in sys.modules)))
"""


@dataclass(frozen=True)
class Case:
    """Something to wait for, and how long at most."""

    name: str
    limit_s: float
    measure: Callable[[Path], float]


def run() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_finished_run(folder / "runs" / "finished")
        worst = max(_time(case, folder) for case in CASES)
        clean = _monitor_is_free_of_torch(folder)
    print(f"monitor imports torch: {'no' if clean else 'YES'}")
    passed = worst <= 1 and clean
    print(f"limit 1.00 of every budget  measured {worst:.2f}  {'PASS' if passed else 'FAIL'}")


def _time(case: Case, folder: Path) -> float:
    """Print the median of some rounds against the limit; their ratio."""
    case.measure(folder)  # Files come from the disk once, bytecode is compiled once.
    taken = [case.measure(folder) for _ in range(ROUNDS)]
    median = statistics.median(taken)
    verdict = "PASS" if median <= case.limit_s else "FAIL"
    print(
        f"{case.name:<42} limit {case.limit_s:4.2f} s  measured {median:5.2f} s "
        f"({min(taken):.2f} to {max(taken):.2f})  {verdict}",
        flush=True,
    )
    return median / case.limit_s


def _help(folder: Path) -> float:
    started = time.perf_counter()
    subprocess.run(
        [*_PROGRAM, "--help"], stdout=subprocess.DEVNULL, env=ordinary_environment(), check=True
    )
    return time.perf_counter() - started


def _monitor(folder: Path) -> float:
    return Screen([*_PROGRAM, "monitor", "finished"], folder).seconds_until(has_braille)


def _configure(folder: Path) -> float:
    return Screen([*_PROGRAM, "launch"], folder).seconds_until(lambda seen: _CONFIGURE_TEXT in seen)


def _first_step(folder: Path) -> float:
    """From `train --model nano` to the first line of metrics; the first call fills the cache."""
    name = f"first-{time.monotonic_ns()}"
    metrics = folder / "runs" / name / "metrics.jsonl"
    settings = [
        "--model",
        "nano",
        "--device",
        "cpu",
        "--name",
        name,
        "--set",
        "data.cache_dir=cache",
    ]
    started = time.perf_counter()
    training = subprocess.Popen(
        [*_PROGRAM, "train", *settings],
        cwd=folder,
        env=ordinary_environment(),
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


CASES = (
    Case("lmm-tui --help", 0.3, _help),
    Case("monitor of a finished run, first plots", 0.6, _monitor),
    Case("launch, configure screen", 0.8, _configure),
    Case("train --model nano, first step, warm cache", 5.0, _first_step),
)


def _monitor_is_free_of_torch(folder: Path) -> bool:
    answer = folder / "torch.txt"
    hook = folder / "hook" / "sitecustomize.py"
    hook.parent.mkdir()
    hook.write_text(_REPORT_MODULES.format(path=str(answer)))
    command = [*_PROGRAM, "monitor", "finished"]
    screen = Screen(command, folder, PYTHONPATH=str(hook.parent))
    screen.wait_for(has_braille)
    screen.leave()
    return answer.read_text() == "False"


if __name__ == "__main__":
    run()
