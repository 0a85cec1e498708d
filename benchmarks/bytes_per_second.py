"""What a cockpit sends to its terminal: beside a live run, beside one that rests, after a resize.

The overview of 200x50, with five charts and a heat map, watches a run of 50 steps a second and ten
scalars, then a paused one that goes on to write its heartbeat, then a finished one. A resize is
timed from SIGWINCH to the last byte.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.live_run import HISTORY, SCALARS, STEPS_PER_S, training
from benchmarks.terminal import Typist, has_braille, make_finished_run
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.status_writer import StatusWriter

TITLE = "bytes_per_second: sent to a terminal beside a live, a paused and a finished run"

LIMIT_LIVE_PER_S = 10_000
LIMIT_AT_REST = 0
LIMIT_RESIZE_MS = 200.0
WATCH_S, SETTLE_S = 10.0, 3.0
SIZES = ((80, 24), (200, 50)) * 3
_QUIET_S = 0.3
_MONITOR = [sys.executable, "-c", "from lmm_tui.cli.main import main; main()", "monitor", "run"]


def run() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        watched = RunDir(folder / "runs" / "run")
        make_finished_run(watched.path, HISTORY)
        with _monitor(folder) as typist:
            finished = typist.read_for(WATCH_S)
            resizes = [(size, *typist.resize(*size, _QUIET_S)) for size in SIZES]
        with training(watched), _monitor(folder) as typist:
            live = typist.read_for(WATCH_S) / WATCH_S
        with _paused(watched), _monitor(folder) as typist:
            paused = typist.read_for(WATCH_S)
    print(f"{STEPS_PER_S} steps/s x {SCALARS}", end="  ")
    _judge(live / 1000, LIMIT_LIVE_PER_S / 1000, "kB/s")
    for name, sent in (("finished", finished), ("paused", paused)):
        print(f"{name} run, {WATCH_S:.0f} s", end="  ")
        _judge(sent, LIMIT_AT_REST, "bytes")
    for size in sorted(set(SIZES)):
        times, frames = zip(*(found for at, *found in resizes if at == size), strict=True)
        print(f"to {size[0]}x{size[1]}: {len(frames[0]) / 1000:.0f} kB", end="  ")
        _judge(1000 * statistics.median(times), LIMIT_RESIZE_MS, "ms")


def _judge(measured: float, limit: float, unit: str) -> None:
    verdict = "OK" if measured <= limit else "FAIL"
    print(f"limit {limit:g} {unit}  measured {measured:.3g}  {verdict}", flush=True)


@contextmanager
def _monitor(folder: Path) -> Iterator[Typist]:
    """A monitor that has drawn all that there was."""
    typist = Typist(_MONITOR, folder)
    try:
        typist.read_until(lambda: has_braille(typist.seen))
        typist.read_for(SETTLE_S)
        yield typist
    finally:
        typist.close()


@contextmanager
def _paused(run: RunDir) -> Iterator[None]:
    """Somebody's heart beats, and nothing else happens."""
    beating = StatusWriter(run, run.read_status())
    beating.update(state="paused", total_steps=2 * HISTORY, eta_s=None)
    try:
        yield
    finally:
        beating.close()


if __name__ == "__main__":
    run()
