"""What a cockpit sends to its terminal: beside a live run, beside one that rests, after a resize.

The overview of 200x50, with five charts and a heat map, watches a finished run, then one of 50
steps a second and ten scalars, then a paused one that goes on to write its heartbeat. The baseline
is a bare Textual app that repaints everything twice a second; a resize is timed from SIGWINCH to
the last byte.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.made_runs import HISTORY, SCALARS, STEPS_PER_S, live, make_finished_run
from benchmarks.measure import QUICK, report, report_count, rounds
from benchmarks.terminal import BARE_APP, PROGRAM, ROOT, TerminalCommand
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.status_writer import StatusWriter

TITLE = "bytes_per_second: sent to a terminal, against a full repaint twice a second"

LIMIT_LIVE, LIMIT_RESIZE = 0.17, 4.0
WATCH_S, SETTLE_S = (2.0, 3.0) if QUICK else (10.0, 3.0)
SIZES = ((80, 24), (200, 50))
_QUIET_S = 0.3


def run() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        watched = make_finished_run(folder / "runs" / "run", HISTORY)
        command = [*PROGRAM, "monitor", "run"]
        with _settled(command, folder) as screen:
            finished = screen.read_for(WATCH_S)
            resizes = _resizes(screen)
        with live(watched), _settled(command, folder) as screen:
            sent = screen.read_for(WATCH_S) / WATCH_S
        with _paused(watched), _settled(command, folder) as screen:
            paused = screen.read_for(WATCH_S)
    with _settled([*BARE_APP, "repaint", "2"], ROOT) as screen:
        repainted = screen.read_for(WATCH_S) / WATCH_S
    with _settled([*BARE_APP, "repaint", "0.001"], ROOT) as screen:
        bare_resizes = _resizes(screen)
    report(f"{STEPS_PER_S} steps/s x {SCALARS}", sent / 1000, repainted / 1000, "full repaint",
           unit="kB/s", at_most=LIMIT_LIVE)  # fmt: skip
    report_count(f"bytes of a finished run in {WATCH_S:.0f} s", finished, 0)
    report_count(f"bytes of a paused run in {WATCH_S:.0f} s", paused, 0)
    for size, taken in resizes.items():
        report(f"resize to {size[0]}x{size[1]}", 1e3 * taken, 1e3 * bare_resizes[size], "bare app",
               unit="ms", at_most=LIMIT_RESIZE)  # fmt: skip


@contextmanager
def _settled(command: list[str], folder: Path) -> Iterator[TerminalCommand]:
    """A screen that has drawn all that there was."""
    with TerminalCommand(command, folder) as screen:
        screen.wait_for_curve()
        screen.read_for(SETTLE_S)
        yield screen


def _resizes(screen: TerminalCommand) -> dict[tuple[int, int], float]:
    """Median seconds of a resize to each size."""
    taken: dict[tuple[int, int], list[float]] = {size: [] for size in SIZES}
    for _ in range(rounds(5)):
        for size in SIZES:
            taken[size].append(screen.resize(*size, _QUIET_S))
    return {size: statistics.median(times) for size, times in taken.items()}


@contextmanager
def _paused(run: RunDir) -> Iterator[None]:
    """Heartbeats and nothing else."""
    beating = StatusWriter(run, run.read_status())
    beating.update(state="paused", total_steps=2 * HISTORY, eta_s=None)
    try:
        yield
    finally:
        beating.close()


if __name__ == "__main__":
    run()
