"""Eight runs of 100,000 steps over each other: from the key to the first curves, and to all.

The runs are marked in the list of runs of a cockpit in a terminal of 200x50. The clock of the
first curves stops at the first dot of one; all is there when nothing is painted any more.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.terminal import Typist, has_braille, make_finished_run

TITLE = "overlay: the first curves of 8 runs of 100,000 steps, and all of them"

LIMIT_S = 1.5
RUNS, STEPS = 8, 100_000
_QUIET_S = 1.5
"""Longer than any pause between two looks at the files."""
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
        runs = Path(place) / "runs"
        make_finished_run(runs / "run-0", STEPS)
        for number in range(1, RUNS):
            shutil.copytree(runs / "run-0", runs / f"run-{number}", copy_function=os.link)
        root = Path(__file__).resolve().parents[1]
        typist = Typist([sys.executable, "-c", _COCKPIT, str(runs)], root)
        try:
            first, everything = _open(typist)
        finally:
            typist.close()
    print(f"{RUNS} runs x {STEPS:,} steps  all loaded and painted in {everything:.2f} s")
    verdict = "PASS" if first <= LIMIT_S else "FAIL"
    print(f"limit {LIMIT_S} s to the first curves  measured {first:.2f}  {verdict}")


def _open(typist: Typist) -> tuple[float, float]:
    typist.read_until(lambda: b"run-7" in typist.seen)
    for _ in range(RUNS - 1):
        typist.painted(b" ", 0.1)
        typist.painted(b"j", 0.1)
    typist.painted(b" ", 0.1)
    typist.seen = b""
    started = time.perf_counter()
    typist.first_sign(b"o")
    typist.read_until(lambda: has_braille(typist.seen))
    first = time.perf_counter() - started
    return first, typist.read_until_quiet(_QUIET_S) - started


if __name__ == "__main__":
    run()
