"""How often a run survives `kill -9`: one run, killed again and again and resumed each time.

100 kills come at any instant, 20 inside the writing of a checkpoint: they are sent once the wanted
file is seen there, and count only where something half-written was left behind. Then the run
trains to its end, and its curves are laid beside those of a run that nobody touched. Each life is
`lmm-tui train` or `lmm-tui resume` in a process of its own; it is forked from one that has imported
torch, which saves three seconds a life.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from benchmarks.measure import QUICK, report_count
from lmm_tui.engine.checkpoints.checkpoint_files import verify
from lmm_tui.engine.run.checkpoint_names import list_checkpoints
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError

TITLE = "soak: kill -9 at any instant, and inside checkpoint writes; the curve stays the same"

RANDOM_KILLS, AIMED_KILLS = (2, 1) if QUICK else (100, 20)
SEED = 4

_STEPS_A_KILL = 40
_CURVES = ("train/loss", "train/loss_ema", "train/grad_norm", "val/loss", "probe/entropy")
_TARGETS = ("model.safetensors", "training.pt", "state.json", ".removing-")
"""What the kills inside a write wait for: each file of a checkpoint, and an old one going."""
_LONGEST_LIFE_S = 1.5
_PATIENCE_S = 120.0
_KILLED = -9

_SETTINGS = {
    "model.vocab_size": "300",
    "model.hidden_size": "32",
    "model.num_layers": "2",
    "model.intermediate_size": "64",
    "data.seq_len": "32",
    "data.builtin_mb": "0.1",
    "data.cache_dir": "'cache'",
    "train.batch_size": "4",
    "train.threads": "1",
    "log.val_every": "25",
    "log.val_batches": "2",
    "log.probe_every": "10",
    "log.sample_every": "0",
    "log.checkpoint_every": "4",
    "log.tensorboard": "false",
}

PROCESSES = multiprocessing.get_context("forkserver")
"""Makes the lives."""
PROCESSES.set_forkserver_preload(
    [
        "lmm_tui.cli.headless",
        "lmm_tui.engine.training.loop",
        "lmm_tui.engine.training.run_host",
        "lmm_tui.engine.stages.pretrain",
        "torch._dynamo",
    ]
)


@dataclass
class Outcome:
    """What the kills did; `trouble` is empty where nothing was lost."""

    at_random: int = 0
    inside_a_write: int = 0
    lives: int = 0
    resumes: int = 0
    unreadable: int = 0
    trouble: list[str] = field(default_factory=list)


def run() -> None:
    with tempfile.TemporaryDirectory() as place:
        outcome = soak(Path(place), RANDOM_KILLS, AIMED_KILLS)
    print(
        f"seed {SEED}: {outcome.at_random} kills at random, {outcome.inside_a_write} inside a "
        f"checkpoint write; {outcome.lives} lives, {outcome.resumes} of them trained on from a "
        f"checkpoint; {outcome.unreadable} torn lines passed over"
    )
    for trouble in outcome.trouble:
        print(f"  {trouble}")
    report_count("losses", len(outcome.trouble), 0)


def soak(place: Path, random_kills: int, aimed_kills: int) -> Outcome:
    """Kill a run in the empty folder `place` so often, and compare it with one left alone."""
    steps = _STEPS_A_KILL * (random_kills + aimed_kills)
    outcome = Outcome()
    whole = _start(place, "whole", steps)
    whole.join()
    if whole.exitcode:
        raise RuntimeError((place / "whole.log").read_text()[-2000:])
    run = RunDir(place / "runs" / "killed")
    dice = random.Random(SEED)
    kills = [True] * aimed_kills + [False] * random_kills
    dice.shuffle(kills)
    for aimed in kills:
        target = _TARGETS[outcome.inside_a_write % len(_TARGETS)]
        if not (
            _kill_inside(target, run, place, steps, outcome)
            if aimed
            else _kill_at_random(dice, run, place, steps, outcome)
        ):
            return outcome
    last = _life(run, place, steps, outcome)
    last.join()
    if last.exitcode:
        outcome.trouble.append(f"the last life ended with {last.exitcode}: {_log_end(run, place)}")
    _compare(Reader(place / "runs" / "whole"), Reader(run.path), steps, outcome)
    return outcome


def _kill_at_random(
    dice: random.Random, run: RunDir, place: Path, steps: int, outcome: Outcome
) -> bool:
    """Whether it was the kill that ended it, and what is left is whole."""
    life = _life(run, place, steps, outcome)
    life.join(dice.uniform(0.0, _LONGEST_LIFE_S))
    outcome.at_random += 1
    return _kill(life, run, place, outcome)


def _kill_inside(target: str, run: RunDir, place: Path, steps: int, outcome: Outcome) -> bool:
    """As often as it takes to leave something half-done behind."""
    while True:
        before = _half_done(run)
        life = _life(run, place, steps, outcome)
        deadline = time.monotonic() + _PATIENCE_S
        while life.is_alive() and time.monotonic() < deadline:
            if any(target in str(path) for path in _half_done(run) - before):
                break
        if not _kill(life, run, place, outcome):
            return False
        if _half_done(run) - before:
            outcome.inside_a_write += 1
            return True


def _half_done(run: RunDir) -> set[tuple[Path, int]]:
    """Files that are being written or removed, each told from one of the same name before."""
    while True:
        try:
            left = [*run.checkpoints.glob(".writing-*/*"), *run.checkpoints.glob(".removing-*")]
            return {(path, path.stat().st_ctime_ns) for path in left}
        except FileNotFoundError:
            continue  # The write continued meanwhile.


def _kill(life: BaseProcess, run: RunDir, place: Path, outcome: Outcome) -> bool:
    life.kill()
    life.join()
    if life.exitcode != _KILLED:
        outcome.trouble.append(f"a life ended by itself ({life.exitcode}): {_log_end(run, place)}")
        return False
    for path in list_checkpoints(run.checkpoints):
        try:
            verify(path)
        except LmmError as error:
            outcome.trouble.append(f"after kill {outcome.lives}: {error}")
    return True


def _compare(whole: Reader, killed: Reader, steps: int, outcome: Outcome) -> None:
    for session in (whole, killed):
        session.poll()
    outcome.unreadable = killed.unreadable_lines
    outcome.resumes = len(killed.view.info.resumed_steps)
    if killed.view.state != "finished":
        outcome.trouble.append(f"the run is {killed.view.state} in the end")
    for name in _CURVES:
        if _points(killed, name) != _points(whole, name):
            outcome.trouble.append(f"{name} is not what it is without kills")
    if [step for step, _ in _points(killed, "train/loss")] != list(range(1, steps + 1)):
        outcome.trouble.append("steps are missing, or there twice")
    damaged = killed.run_dir.checkpoints.glob("damaged-*")
    outcome.trouble += [f"{path.name}: was loaded by nobody" for path in damaged]


def _points(session: Reader, name: str) -> list[tuple[int, float]]:
    series = session.series.get(name)
    if series is None:
        return []
    return list(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def _life(run: RunDir, place: Path, steps: int, outcome: Outcome) -> BaseProcess:
    outcome.lives += 1
    return _start(place, run.name, steps, resume=run.exists())


def _start(place: Path, name: str, steps: int, resume: bool = False) -> BaseProcess:
    settings = [word for key, value in _SETTINGS.items() for word in ("--set", f"{key}={value}")]
    settings += ["--steps", str(steps), "--device", "cpu", "--name", name]
    command = ["resume", name] if resume else ["train", *settings]
    process = PROCESSES.Process(target=_run_command, args=(place, name, command))
    process.start()
    return process


def _run_command(place: Path, name: str, command: Sequence[str]) -> None:
    os.chdir(place)
    log = os.open(f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # multiprocessing leaves a closed one to its children, and commands ask it for its terminal.
    vars(sys)["__stdin__"] = sys.stdin
    from lmm_tui.cli import main

    sys.exit(main.run(command))


def _log_end(run: RunDir, place: Path) -> str:
    return (place / f"{run.name}.log").read_text(errors="replace")[-500:].strip()


if __name__ == "__main__":
    run()
