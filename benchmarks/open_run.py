"""How soon long runs are on the screen and wholly in memory, read from their metrics.jsonl.

The baselines are Python's json, line by line with nothing kept, the memory of the same numbers in
numpy, and the first paint of an empty Textual app. The overlay marks eight runs in the list of runs
and opens them over each other: the clock of the first curves stops at the first dot, all is there
when nothing more is painted.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.made_runs import SCALARS, make_finished_run
from benchmarks.measure import QUICK, medians, report
from benchmarks.terminal import BARE_APP, PROGRAM, ROOT, TerminalCommand, first_curve

TITLE = "open_run: a long run, and eight over each other, against json and an empty Textual app"

LIMIT_LOAD = {100_000: 1.0, 1_000_000: 0.67}
"""Time of json alone. The start of the interpreter counts, which a short run feels."""
LIMIT_MEMORY = 2.5
LIMIT_FIRST_PLOTS = 2.7
LIMIT_OVERLAY_FIRST, LIMIT_OVERLAY_ALL = 0.2, 0.6
"""Of json reading the eight files."""

OVERLAID = 8
_QUIET_S = 1.5
"""Longer than any pause between two polls of the files."""
_PEAK = """
# Not getrusage, which counts what the parent had when it forked.
status = open("/proc/self/status").read().splitlines()
print(rows, next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""
_LOAD = """
import sys
from pathlib import Path
from lmm_tui.metrics.readers.json_lines import MetricsFollower
from lmm_tui.metrics.series.series import SeriesStore
store = SeriesStore()
follower = MetricsFollower(Path(sys.argv[1]), store)
follower.poll()
while follower.behind:
    follower.poll()
rows = len(store)
"""
_NUMPY = """
import sys
import numpy
rows, columns = int(sys.argv[1]), int(sys.argv[2])
held = numpy.ones((columns, rows))
"""
_COCKPIT = """
import sys
from pathlib import Path
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.textual_patches.install import install
install()
CockpitApp(runs_dir=Path(sys.argv[1])).run()
"""


def run() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for steps, limit in LIMIT_LOAD.items():
            steps //= 10 if QUICK else 1  # noqa: PLW2901
            made = make_finished_run(folder / f"steps-{steps}", steps).path
            calls = {"ours": partial(_load, made), "json": partial(_json, made)}
            ours, floor = medians(calls, 3).values()
            report(f"{steps:,} x {SCALARS} in memory", ours, floor, "json", at_most=limit)
        peak, floor = _peak_mb(_LOAD, made / "metrics.jsonl"), _peak_mb(_NUMPY, steps, SCALARS + 3)
        report("peak memory", peak, floor, "numpy", unit="MB", at_most=LIMIT_MEMORY)
        short = next(folder.glob("steps-*0000"))
        command = [*PROGRAM, "monitor", short.name, "--runs-dir", str(folder)]
        ours, bare = medians(
            {
                "ours": partial(first_curve, command, folder),
                "bare": partial(first_curve, BARE_APP, ROOT),
            },
            5,
        ).values()
        report("first plots", ours, bare, "empty app", at_most=LIMIT_FIRST_PLOTS)
    _overlay()


def _overlay() -> None:
    with tempfile.TemporaryDirectory() as place:
        runs = Path(place)
        made = make_finished_run(runs / "run-0", 10_000 if QUICK else 100_000).path
        for number in range(1, OVERLAID):
            shutil.copytree(made, runs / f"run-{number}", copy_function=os.link)
        floor = OVERLAID * _json(made)
        with TerminalCommand([sys.executable, "-c", _COCKPIT, place], ROOT) as screen:
            first, everything = _open_overlay(screen)
    of = f"json of {OVERLAID} files"
    report("overlay, first curves", first, floor, of, at_most=LIMIT_OVERLAY_FIRST)
    report("overlay, all painted", everything, floor, of, at_most=LIMIT_OVERLAY_ALL)


def _open_overlay(screen: TerminalCommand) -> tuple[float, float]:
    screen.wait_for(lambda: b"run-7" in screen.seen)
    for _ in range(OVERLAID - 1):
        screen.painted(b" ", 0.1)
        screen.painted(b"j", 0.1)
    screen.painted(b" ", 0.1)
    started = time.perf_counter()
    screen.press(b"C")
    screen.wait_for_curve()
    first = time.perf_counter() - started
    return first, screen.wait_until_quiet(_QUIET_S) - started


def _load(run: Path) -> float:
    """Seconds until every point is in memory, the interpreter's start included."""
    started = time.perf_counter()
    _python(_LOAD, run / "metrics.jsonl")
    return time.perf_counter() - started


def _json(run: Path) -> float:
    started = time.perf_counter()
    with (run / "metrics.jsonl").open(encoding="utf-8") as file:
        for line in file:
            json.loads(line)
    return time.perf_counter() - started


def _peak_mb(program: str, *arguments: object) -> float:
    return _python(program, *arguments)[1] / 1024


def _python(program: str, *arguments: object) -> tuple[int, int]:
    """Rows that the program holds, and its peak memory in kB."""
    command = [sys.executable, "-c", program + _PEAK, *map(str, arguments)]
    rows, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return int(rows), int(peak)


if __name__ == "__main__":
    run()
