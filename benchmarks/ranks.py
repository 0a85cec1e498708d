"""What several ranks cost and how soon they answer, on gloo with one thread each.

A real run of two ranks of `nano`: steps from a command to its effect, seconds until a rank that
hangs has a name and until one that was killed trains again. Collectives and bytes of a step are
counted by torch. How fast gloo is says nothing of a GPU, and is not measured.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.host_waits import HostWaits
from benchmarks.measure import QUICK, report, rounds, seconds
from benchmarks.rank_counts import MOST, counts
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.parallel.beats import Beats
from lmm_tui.engine.parallel.ranks import ALONE
from lmm_tui.engine.run.control_client import send
from lmm_tui.engine.run.rank_records import RankBeat, read_ranks
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.training.loop import Trainer
from lmm_tui.engine.training.run_host import EngineHost

TITLE = "ranks: waits, collectives, hangs and restarts of a run on two ranks"
_SETTINGS = {
    "model.preset": "nano",
    "data.seq_len": 64,
    "data.builtin_mb": 0.1,
    "train.batch_size": 4,
    "log.every": 1,
    "log.val_every": 0,
    "log.probe_every": 0,
    "log.sample_every": 0,
    "log.checkpoint_every": 20,
}
_PHASES = 12
"""Calls of `phase` in a step of two micro-batches."""


def run() -> None:
    with tempfile.TemporaryDirectory() as folder:
        _wait(Path(folder))
        _count(Path(folder))
        _steer(Path(folder))
    _alone()


def _wait(folder: Path) -> None:
    """Reads of a step in which a GPU's host would wait."""
    real, found = Trainer._step, HostWaits()

    def step(trainer: Trainer, parts: Any) -> None:
        if parts.context.step != 2:
            real(trainer, parts)
            return
        with found:
            real(trainer, parts)

    chosen = _SETTINGS | {"runs_dir": str(folder), "name": "one", "train.steps": 4, "device": "cpu"}
    with patch.object(Trainer, "_step", step):
        EngineHost(resolve(assignments=chosen)).run()
    _limit("host waits a step", found.found.total(), 0)


def _count(folder: Path) -> None:
    """Collectives of a step, replicated and divided, with AdamW and Muon."""
    for way, found in counts(folder).items():
        _limit(f"collectives a step, {way}", found["collectives"], MOST[way])
        print(f"  {found['bytes']:,} bytes")


def _steer(folder: Path) -> None:
    place = RunDir(folder / "pair")
    options = [part for item in _SETTINGS.items() for part in ("--set", "{}={}".format(*item))]
    command = [
        *(sys.executable, "-c", "from lmm_tui.cli.main import main; main()", "train"),
        *("--ranks", "2", "--restarts", "1", "--device", "cpu", "--steps", "1000000"),
        *("--runs-dir", str(folder), "--name", place.name, *options),
    ]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=env) as train:
        _until(lambda: _step(place) > 25)
        lags = [_lag(place) for _ in range(rounds(10))]
        _limit("steps from a command to its effect", max(lags), 2)
        hung = _beats(place)[1]
        os.kill(hung.pid, signal.SIGSTOP)
        named = _until(lambda: _hang(place))
        os.kill(hung.pid, signal.SIGCONT)
        _limit("seconds until a rank that hangs has a name", round(named, 1), 5)
        _until(lambda: not _hang(place))
        before, killed = _step(place), time.monotonic()
        os.kill(hung.pid, signal.SIGKILL)
        _until(lambda: any(beat.pid != hung.pid for beat in _beats(place)[1:]))
        _until(lambda: _step(place) > before)
        back = time.monotonic() - killed
        print(f"  {back:.1f} s from the kill of a rank until its group has passed that step again")
        train.send_signal(signal.SIGTERM)
        train.wait()
    print(f"  ended as {place.read_status().state} at step {place.read_status().step}")


def _limit(what: str, found: float, most: float) -> None:
    print(f"{what:<44} {found:6g}  limit {most:g}  {'PASS' if found <= most else 'FAIL'}")


def _lag(place: RunDir) -> int:
    """How many steps were made from the sending of a command to the first that it changes."""
    at = _step(place)
    reply = send(Path(place.read_info().socket), "set", {"clip": 1.0 + time.time() % 1})
    assert reply.ok, reply.message
    return reply.step - at


def _step(place: RunDir) -> int:
    """Of the last row, which is written at once; status.json is a second old."""
    try:
        rows = place.metrics.read_bytes().splitlines()
    except OSError:
        return 0
    return int(json.loads(rows[-1])["step"]) if rows else 0


def _beats(place: RunDir) -> list[RankBeat]:
    table = read_ranks(place.ranks_file)
    return [] if table is None else list(table.ranks)


def _hang(place: RunDir) -> bool:
    table = read_ranks(place.ranks_file)
    return table is not None and bool(table.hang)


def _until(condition: Callable[[], Any], timeout_s: float = 300) -> float:
    """Seconds until it is so."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout_s:
            raise TimeoutError("waited in vain")
        time.sleep(0.05)
    return time.monotonic() - began


def _alone() -> None:
    """What a run of one process pays in each step for what several ranks need."""
    beats, calls = Beats.alone(), 100 if QUICK else 20_000

    def step() -> None:
        for number in range(calls):
            for _ in range(_PHASES):
                beats.phase("forward")
            beats.end_step(number)
            assert ALONE.is_alone

    a_step = seconds(step) / calls
    report("of a step of one rank", a_step, 0.005, "a step of 5 ms", at_most=0.01)


if __name__ == "__main__":
    _alone()
    print("=== 自测通过 ===")
