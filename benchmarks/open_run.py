"""How soon a long run is on the screen, and wholly in memory, read from its metrics.jsonl."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.terminal import Screen, has_braille, make_finished_run

TITLE = "open_run: first plots and all points of runs of 100 thousand and 1 million steps"

_MONITOR = [sys.executable, "-c", "from lmm_tui.cli.main import main; main()", "monitor"]
_LOAD = """
import sys
from lmm_tui.metrics.readers.json_lines import MetricsFollower
from lmm_tui.metrics.series.series import SeriesStore
from pathlib import Path
store = SeriesStore()
follower = MetricsFollower(Path(sys.argv[1]), store)
follower.poll()
while follower.behind:
    follower.poll()
# Not getrusage: it counts what the parent had when it forked.
status = open("/proc/self/status").read().splitlines()
print(len(store), next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


def load(run: Path, steps: int) -> tuple[float, float]:
    """Seconds, the interpreter's start included, and peak MB until every point is there."""
    started = time.perf_counter()
    command = [sys.executable, "-c", _LOAD, str(run / "metrics.jsonl")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(answer[0]) == steps
    return time.perf_counter() - started, int(answer[1]) / 1024


def first_plots(run: Path) -> float:
    screen = Screen([*_MONITOR, run.name, "--runs-dir", str(run.parent)], run.parent)
    return screen.seconds_until(has_braille)


def json_loop(run: Path) -> float:
    """The peer: Python's own json, line by line, nothing kept."""
    started = time.perf_counter()
    with (run / "metrics.jsonl").open(encoding="utf-8") as file:
        for line in file:
            json.loads(line)
    return time.perf_counter() - started


def run() -> None:
    passed = True
    with tempfile.TemporaryDirectory() as folder:
        for steps, plots_limit, load_limit in ((100_000, 0.6, 1.0), (1_000_000, None, 6.0)):
            made = Path(folder) / f"steps-{steps}"
            make_finished_run(made, steps)
            seconds, megabytes = min(load(made, steps) for _ in range(3))
            peer = json_loop(made)
            print(
                f"{steps:>9,} x 10  all loaded {seconds:.2f} s of {load_limit}, {megabytes:.0f} MB "
                f"of 350; json.loads alone {peer:.2f} s = {peer / seconds:.1f}x ours"
            )
            passed &= seconds <= load_limit and megabytes <= 350
            if plots_limit:
                taken = statistics.median(first_plots(made) for _ in range(5))
                print(f"{steps:>9,} x 10  first plots {taken:.2f} s of {plots_limit}")
                passed &= taken <= plots_limit
    print(f"limit all of the above  measured as above  {'PASS' if passed else 'FAIL'}")


if __name__ == "__main__":
    run()
