"""A run of 2,000 metrics of 10,000 steps each: how soon every letter of a search is on the screen.

The run lies in memory, for what is measured is the search and not the reading. The clock of a
letter runs from its key press to the last byte that is painted for it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.terminal import Typist, has_braille, make_finished_run
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.runs.session import RunSession
from lmm_tui.textual_patches.install import install

TITLE = "many_metrics: each letter of a search among 2,000 metrics of 10,000 steps"

LIMIT_MS = 100.0
METRICS, STEPS = 2000, 10_000
WORDS = ("layer7", "norm 19", "act")
_QUIET_S = 0.15


def run() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_finished_run(folder / "wide", 10)
        program = f"from benchmarks.many_metrics import show; show({str(folder / 'wide')!r})"
        typist = Typist([sys.executable, "-c", program], Path(__file__).resolve().parents[1])
        try:
            typist.read_until(lambda: has_braille(typist.seen))
            letters = [one for word in WORDS for one in _type(typist, word)]
        finally:
            typist.close()
    worst = max(letters)
    verdict = "PASS" if worst <= LIMIT_MS else "FAIL"
    print(f"limit {LIMIT_MS:.0f} ms for every letter  measured {worst:.0f}  {verdict}")


def _type(typist: Typist, word: str) -> list[float]:
    """Search for a word letter by letter; milliseconds each."""
    typist.painted(b"/", _QUIET_S)
    taken = [1e3 * typist.painted(letter.encode(), _QUIET_S) for letter in word]
    typist.painted(b"\x1b", _QUIET_S)
    print(f"{word:<10} " + " ".join(f"{one:4.0f}" for one in taken) + " ms", flush=True)
    return taken


def show(run: str) -> None:
    """The cockpit on a run that has many metrics."""
    session = RunSession(Path(run))
    session.poll()
    random = np.random.default_rng(0)
    last = session.series.last_step or 0
    steps = np.arange(last + 1, last + STEPS + 1)
    block = {
        f"{kind}/layer{layer}.norm": (None, random.normal(size=STEPS))
        for kind in ("act", "grad", "weight", "update")
        for layer in range(METRICS // 4)
    }
    session.series.extend(steps, block)
    install()
    CockpitApp(session).run()


if __name__ == "__main__":
    run()
