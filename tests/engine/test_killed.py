"""`kill -9` at any instant: the run goes on from its last whole checkpoint, to the last bit."""

import random
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from conftest import MakeConfig
from forked import processes

from engine.checkpoint_files import verify
from engine.config import RunConfig
from engine.host import EngineHost
from engine.rundir import RunDir, list_checkpoints
from metrics.follow import MetricsFollower
from metrics.series import SeriesStore

STEPS = 80


def train(config: RunConfig) -> None:
    run = RunDir(Path(config.runs_dir) / "killed")
    host = EngineHost(config, run if run.exists() else None)
    host.run()
    assert host.error == ""


def seen(run: RunDir, name: str) -> list[tuple[int, float]]:
    """The curve that a monitor draws: a kill may also tear a line."""
    store = SeriesStore()
    follower = MetricsFollower(run.metrics, store)
    while follower.poll():
        pass
    series = store.get(name)
    assert series is not None
    return list(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def kill_once(process: BaseProcess, ready: Callable[[], bool]) -> bool:
    """Whether it was killed, and had not ended before."""
    process.start()
    while process.is_alive() and not ready():
        pass
    process.kill()
    process.join()
    return process.exitcode != 0


def test_resumed_losses_equal_uninterrupted_ones_after_kills_at_any_instant(
    small: MakeConfig,
) -> None:
    chosen = {"train__steps": STEPS, "log__checkpoint_every": 4, "log__val_every": 25}
    whole = EngineHost(small(name="whole", **chosen))
    assert whole.run() == "finished"

    config = small(name="killed", **chosen)
    run = RunDir(Path(config.runs_dir) / "killed")
    dice = random.Random(7)
    kills = 0
    for attempt in range(8):
        size = run.metrics.stat().st_size if run.metrics.exists() else 0
        more = size + dice.randrange(1, 9_000)

        def somewhere(more: int = more) -> bool:
            return run.metrics.exists() and run.metrics.stat().st_size > more

        def inside_a_write() -> bool:
            return any(run.checkpoints.glob(".writing-*/*"))

        ready = inside_a_write if attempt % 2 else somewhere
        process = processes.Process(target=train, args=(config,))
        kills += kill_once(process, ready)
        for path in list_checkpoints(run.checkpoints):
            verify(path)
    last = processes.Process(target=train, args=(config,))
    last.start()
    last.join()
    assert last.exitcode == 0 and kills >= 4
    assert run.read_status().state == "finished"
    for name in ("train/loss", "train/grad_norm", "train/loss_ema", "val/loss"):
        assert seen(run, name) == seen(whole.run_dir, name)
    assert [step for step, _ in seen(run, "train/loss")] == list(range(1, STEPS + 1))
    assert run.read_info().resumed_steps
