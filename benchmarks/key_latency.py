"""How soon a key is answered, on a terminal of 200x50, against a bare Textual app.

While `nano` trains in the same process: from the key press to the first character painted next. The
bare app runs beside the same training, so that both wait for the processor alike. What the screen
paints by itself once a second is taken for an answer in a few cases of a hundred, which a 95th
percentile does not notice. Then the letters of a search among 2,000 metrics: from each letter to
the last byte painted for it, against a bare app that fills the screen with new text.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.made_runs import make_finished_run
from benchmarks.measure import QUICK, report, rounds
from benchmarks.terminal import BARE_APP, PROGRAM, ROOT, TerminalCommand
from lmm_tui.engine.run.run_dir import RunDir

TITLE = "key_latency: from a key to its first sign beside training, against a bare Textual app"

LIMIT_KEY, LIMIT_LETTER = 5.0, 12.0
ROUNDS = 10
KEYS = {
    "+": b"+",
    "left": b"\x1b[D",
    "0": b"0",
    "tab": b"\t",
    "]": b"]",
    "shift+left": b"\x1b[1;2D",
    "?": b"?",
    "escape": b"\x1b",
}
METRICS, STEPS = 2000, 10_000
WORDS = ("layer7", "norm 19", "act")
_QUIET_S = 0.15
"""Before a key: it must not answer the one before, nor continue an escape sequence."""
_STEPS_FIRST = 5
"""So that charts hold something to zoom into."""


def run() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        ours = _beside_training([*PROGRAM, *_launch(folder).split()], folder, "ours")
        bare = _beside_training([*BARE_APP, "train", place], folder, "bare")
        for name in KEYS:
            print(f"{name:<10}  median {1e3 * statistics.median(ours[name]):5.1f} ms")
        report("keys beside training, p95", _p95_ms(ours), _p95_ms(bare), "bare app", unit="ms",
               at_most=LIMIT_KEY)  # fmt: skip
        letters, floor = _search(folder), _bare_paint()
    report("worst letter of a search", 1e3 * max(letters), 1e3 * floor, "full repaint", unit="ms",
           at_most=LIMIT_LETTER)  # fmt: skip


def _launch(folder: Path) -> str:
    return f"launch -y --steps 1000000 --model nano --device cpu --name ours --runs-dir {folder}"


def _beside_training(command: list[str], folder: Path, name: str) -> dict[str, list[float]]:
    """Seconds from each press of each key to its first sign, while the run `name` trains."""
    taken: dict[str, list[float]] = {name: [] for name in KEYS}
    trained = RunDir(folder / name)
    with TerminalCommand(command, ROOT) as screen:
        screen.wait_for(lambda: trained.exists() and trained.read_status().step >= _STEPS_FIRST)
        for _ in range(rounds(ROUNDS)):
            for key, sent in KEYS.items():
                taken[key].append(screen.first_sign(sent, _QUIET_S))
        print(f"{name}: {trained.read_status().step - _STEPS_FIRST} steps were trained meanwhile")
    return taken


def _p95_ms(taken: dict[str, list[float]]) -> float:
    return 1e3 * statistics.quantiles((one for times in taken.values() for one in times), n=20)[-1]


def _search(folder: Path) -> list[float]:
    """The run lies in memory, so that the search is measured and not the reading."""
    wide = make_finished_run(folder / "wide", 10).path
    program = f"from benchmarks.key_latency import show; show({str(wide)!r})"
    with TerminalCommand([sys.executable, "-c", program], ROOT) as screen:
        screen.wait_for_curve()
        return [one for word in WORDS[: 1 if QUICK else None] for one in _type(screen, word)]


def _type(screen: TerminalCommand, word: str) -> list[float]:
    screen.painted(b"/", _QUIET_S)
    taken = [screen.painted(letter.encode(), _QUIET_S) for letter in word]
    screen.painted(b"\x1b", _QUIET_S)
    print(f"{word:<10} " + " ".join(f"{1e3 * one:4.0f}" for one in taken) + " ms", flush=True)
    return taken


def _bare_paint() -> float:
    """The median time in which a bare app fills the screen with new text after a key."""
    with TerminalCommand([*BARE_APP, "repaint", "0.001"], ROOT) as screen:
        screen.wait_for_curve()
        return statistics.median(screen.painted(b"a", _QUIET_S) for _ in range(rounds(15)))


def show(run: str) -> None:
    """The cockpit on a run with many metrics."""
    from lmm_tui.cockpit.app import CockpitApp
    from lmm_tui.engine.run.reader import Reader
    from lmm_tui.textual_patches.install import install

    session = Reader(Path(run))
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
