"""Console logs, folders of many files and health rules over other programs' rows.

A part of `foreign`. What is held here are seconds and microseconds, as the size of a log is what
people wait for; a regular expression a line is beside them as the bare minimum in Python.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from benchmarks.measure import QUICK, report, report_count
from benchmarks.terminal import PROGRAM, first_curve
from lmm_tui.metrics.health.alerts import Health, examine
from lmm_tui.metrics.readers.foreign import open_log
from lmm_tui.metrics.readers.log_folders import has_rows, runs_at
from lmm_tui.metrics.series.series import SeriesStore

MEGABYTES = 20 if QUICK else 1000
FILES = 200

LEAST_MB_A_SECOND = 50
MOST_FIRST_CURVE_S = 1.0
MOST_RECOGNITION_S = 1.0
MOST_HEALTH_US = 20

_LOSS = re.compile(rb"iter (\d+): loss ([\d.]+)")


def run(folder: Path) -> None:
    """Print the figures of all parts; files are made in `folder`."""
    _console(folder / "train.log")
    _recognition(folder / "many")


def _console(log: Path) -> None:
    rows = _write_console(log)
    first = min(first_curve([*PROGRAM, "monitor", str(log)], log.parent) for _ in range(3))
    report("console log, first curve", first, MOST_FIRST_CURVE_S, "limit", at_most=1)
    store = SeriesStore()
    began = time.perf_counter()
    open_log(log, store).poll()
    taken = time.perf_counter() - began
    size = log.stat().st_size / 1e6
    began = time.perf_counter()
    with log.open("rb") as file:
        found = sum(_LOSS.match(line) is not None for line in file)
    plain = time.perf_counter() - began
    report_count("rows of the console log", len(store), rows)
    report_count("the same by a regular expression", found, rows)
    report("console log", size / taken, LEAST_MB_A_SECOND, "limit", unit="MB/s", at_least=1)
    print(f"the same by a regular expression a line: {size / plain:.0f} MB/s")
    began = time.perf_counter()
    health = Health()
    examine(store, health)
    each = (time.perf_counter() - began) / len(store) * 1e6
    report("health rules, a row", each, MOST_HEALTH_US, "limit", unit="us", at_most=1)
    report_count("alerts of a healthy log", len(health.alerts), 0)


def _write_console(log: Path) -> int:
    step, size = 0, 0
    with log.open("w", encoding="ascii") as file:
        while size < MEGABYTES * 1_000_000:
            size += file.write(
                "".join(
                    f"iter {at}: loss {2.5 + at % 97 / 1000:.4f}, time {12 + at % 10 / 10:.2f}ms, "
                    f"mfu {3 + at % 9 / 10:.2f}%\n"
                    for at in range(step, step + 10_000)
                )
            )
            step += 10_000
    return step


def _recognition(folder: Path) -> None:
    """Files of many kinds in one folder, half of which are logs."""
    folder.mkdir()
    row = {"step": 1, "loss": 2.5, "lr": 1e-3}
    contents = {
        "a.log": "iter 1: loss 2.5, time 12.50ms\n" * 500,
        "b.jsonl": (json.dumps(row) + "\n") * 500,
        "c.csv": "step,loss\n" + "1,2.5\n" * 500,
        "d.json": json.dumps({"log_history": [row] * 500}),
        "e.txt": "nothing to be read here\n" * 500,
        "config.json": json.dumps({"hidden": 512, "layers": [1, 2, 3]}),
        "g.yaml": "lr: 0.001\nsteps: 500\n" * 99,
        "h.bin": "\0\1\2" * 20_000,
    }
    for number in range(FILES):
        name = list(contents)[number % len(contents)]
        (folder / f"{number}-{name}").write_text(contents[name], encoding="latin-1")
    began = time.perf_counter()
    logs = [path for path in folder.iterdir() if has_rows(path)]
    taken = time.perf_counter() - began
    report_count("logs among 200 files", len(logs), FILES // 2)
    report("200 files recognised", taken, MOST_RECOGNITION_S, "limit", at_most=1)
    began = time.perf_counter()
    runs_at(folder)
    listed = time.perf_counter() - began
    report("and their folder listed", listed, MOST_RECOGNITION_S, "limit", at_most=1)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        run(Path(place))
