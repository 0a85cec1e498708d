"""How soon every screen with a number is there after its digit, in a cockpit that has just opened.

Each is opened in a cockpit of its own, so nothing of it was imported before; the dashboard, which
is there already, is gone back to. The clock stops with the last byte of the first paint.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.terminal import Typist, has_braille, make_finished_run
from lmm_tui.cockpit.keys import SCREENS

TITLE = "cold_start: seconds from a digit to the screen it opens, each for the first time"

LIMIT_S = 0.5
ROUNDS = 3
_QUIET_S = 0.3
_MONITOR = [
    sys.executable,
    "-c",
    "from lmm_tui.cli.main import main; main()",
    "monitor",
    "finished",
]


def run() -> None:
    worst = 0.0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_finished_run(folder / "runs" / "finished")
        for digit, name, _ in SCREENS:
            seconds = statistics.median(_open(folder, digit) for _ in range(ROUNDS))
            print(f"{digit} {name:<12} {seconds:.2f} s", flush=True)
            worst = max(worst, seconds)
    verdict = "PASS" if worst <= LIMIT_S else "FAIL"
    print(f"limit {LIMIT_S} s for every screen  measured {worst:.2f}  {verdict}")


def _open(folder: Path, digit: str) -> float:
    typist = Typist(_MONITOR, folder)
    try:
        typist.read_until(lambda: has_braille(typist.seen))
        if digit == SCREENS[0][0]:
            typist.painted(SCREENS[1][0].encode(), _QUIET_S)
        return typist.painted(digit.encode(), _QUIET_S)
    finally:
        typist.close()


if __name__ == "__main__":
    run()
