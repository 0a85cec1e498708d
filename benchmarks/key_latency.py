"""How soon a key is answered while `nano` trains in the same process, on a terminal of 200x50.

The clock runs from the key press to the first character that is painted next. Keys are pressed
while nothing is being painted; what the screen paints by itself once a second may be taken for an
answer in a few cases of a hundred, which a 95th percentile does not notice.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.terminal import Typist
from lmm_tui.engine.run.run_dir import RunDir

TITLE = "key_latency: from a key to its first sign, while nano trains in the same process"

LIMIT_MS = 50.0
ROUNDS = 10
KEYS = {
    "+": b"+",
    "left": b"\x1b[D",
    "0": b"0",
    "tab": b"\t",
    "n": b"n",
    "shift+left": b"\x1b[1;2D",
    "?": b"?",
    "escape": b"\x1b",
}
_QUIET_S = 0.15
"""Before a key: it must be no answer to the one before, nor make another key of an escape."""
_STEPS_FIRST = 5
"""Charts that hold something to zoom into."""


def run() -> None:
    taken: dict[str, list[float]] = {name: [] for name in KEYS}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        typist = Typist(_command(folder), folder)
        try:
            trained = RunDir(folder / "keys")
            typist.read_until(
                lambda: trained.exists() and trained.read_status().step >= _STEPS_FIRST
            )
            for _ in range(ROUNDS):
                for name, sent in KEYS.items():
                    taken[name].append(1e3 * typist.first_sign(sent, _QUIET_S))
            steps = trained.read_status().step - _STEPS_FIRST
        finally:
            typist.close()
    for name, times in taken.items():
        print(f"{name:<10}  median {statistics.median(times):5.1f} ms   p95 {_p95(times):5.1f} ms")
    worst = _p95([time for times in taken.values() for time in times])
    print(f"{steps} steps were trained meanwhile")
    verdict = "PASS" if worst <= LIMIT_MS else "FAIL"
    print(f"limit {LIMIT_MS:.0f} ms for 95 of 100 keys  measured {worst:.1f}  {verdict}")


def _command(folder: Path) -> list[str]:
    program = "from lmm_tui.cli.main import main; main()"
    words = f"launch -y --steps 1000000 --model nano --device cpu --name keys --runs-dir {folder}"
    return [sys.executable, "-c", program, *words.split()]


def _p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


if __name__ == "__main__":
    run()
