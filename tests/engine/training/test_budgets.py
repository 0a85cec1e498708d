"""Lengths of a run by time, tokens and computation."""

from __future__ import annotations

import math
from typing import Any

import pytest
from made_runs import INFO
from small_runs import SMALLEST, curve, run

from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.config_file import to_toml
from lmm_tui.engine.config.resolve import resolve, with_changes
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.run_settings import settings_of
from lmm_tui.engine.config.sections.optim_config import OptimConfig
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.training.schedule import lr_factor
from lmm_tui.engine.training.step_sums import Signals
from lmm_tui.engine.training.time_budget import TimeBudget
from lmm_tui.engine.training.train_job import plan_job
from lmm_tui.toml_text import parse_toml

QUIET = {
    **{f"log.{what}_every": 0 for what in ("sample", "probe", "val", "checkpoint")},
    "log.tensorboard": False,
    "train.batch_size": 4,
    "optim.warmup_steps": 2,
}


def config(folder: Any, **changes: Any) -> RunConfig:
    assigned = {key.replace("__", "."): value for key, value in changes.items()}
    return resolve(assignments={**SMALLEST, **QUIET, "runs_dir": str(folder), **assigned})


def budget_after(steps: list[float]) -> TimeBudget:
    """A budget whose steps took so many seconds."""
    ticks = iter([at for step in steps for at in (0.0, step)])
    made = TimeBudget(lambda: next(ticks))
    for _ in steps:
        with made.counting():
            pass
    return made


def test_the_first_step_of_a_process_does_not_count() -> None:
    assert budget_after([30.0, 1.0, 2.0]).spent_s == 3.0


def test_the_rate_follows_the_share_of_the_time() -> None:
    """Half of the time is half of the cosine, whether steps are fast or slow."""
    optim = OptimConfig(warmup_steps=0, min_lr_ratio=0.0)
    for pace in (0.01, 0.5):
        done = round(30 / pace)
        half = budget_after([9.0] + [pace] * done)
        total = half.total_steps(done + 1, 1.0)
        assert lr_factor(done + 1, total, optim) == pytest.approx(0.5, abs=0.03)
    over = budget_after([9.0] + [1.0] * 60)
    assert lr_factor(60, over.total_steps(60, 1.0), optim) == pytest.approx(0.0)


def test_a_run_of_minutes_ends_by_the_clock_with_its_last_rate_and_resumes(tmp_path: Any) -> None:
    made = run(config(tmp_path, name="timed", train__minutes=0.01))
    assert made.error == "" and made.state == "finished"
    status, rates = made.run_dir.read_status(), curve(made.run_dir, "train/lr")
    assert status.step == status.total_steps == max(rates)
    peak = made.config.peak_lr
    assert rates[status.step] < 0.4 * peak and max(rates.values()) > 0.9 * peak
    refused = run(made.config, made.run_dir)
    assert "its 0.01 minutes are over" in refused.error
    longer = run(with_changes(made.config, {"train.minutes": 0.02}), made.run_dir)
    assert longer.error == "" and longer.run_dir.read_status().step > status.step


@pytest.mark.parametrize("length", ["minutes", "epochs", "tokens"])
def test_a_resume_without_changes_keeps_what_the_length_follows_from(
    tmp_path: Any, length: str
) -> None:
    began = config(tmp_path, name="kept", **{f"train__{length}": 2})
    run_dir = RunDir(tmp_path / "kept")
    run_dir.create()
    run_dir.write_config(to_toml(began))
    run_dir.write_info(INFO)
    job = plan_job(settings_of(run_dir), run_dir)
    assert resolve(base=parse_toml(job.config_text)).train == began.train


def test_every_rank_sets_the_rate_by_the_steps_that_rank_0_expects() -> None:
    """Each has a clock of its own, but weights stay equal only where the rates are."""
    paces = (0.5, 0.7)
    budgets = [budget_after([9.0] + [pace] * 20) for pace in paces]
    told = [Signals(spent_s=one.spent_s, total_steps=one.total_steps(21, 1.0)) for one in budgets]
    assert told[0].total_steps != told[1].total_steps
    vectors = [one.tensor(leads=at == 0) for at, one in enumerate(told)]
    assert Signals.read(*sum(vectors).tolist()) == told[0]


def test_steps_follow_from_tokens_and_from_computation(tmp_path: Any) -> None:
    by_tokens = run(config(tmp_path, name="a", train__tokens=300)).run_dir
    assert by_tokens.read_status().step == math.ceil(300 / (4 * 32))
    shape = config(tmp_path).model.shape()
    cost = 4 * 32 * shape.flops_per_token(32)
    by_flops = run(config(tmp_path, name="b", train__flops=2.5 * cost)).run_dir
    assert by_flops.read_status().step == 2
    dpo = with_changes(config(tmp_path, name="c", train__tokens=300), {"stage": "dpo"})
    assert dpo.tokens_per_step == 0


@pytest.mark.parametrize("other", ["steps", "epochs", "tokens", "flops"])
def test_minutes_beside_another_length_are_refused(other: str) -> None:
    with pytest.raises(ConfigError, match="both say how long the run is"):
        resolve(assignments={"train.minutes": 1, f"train.{other}": 2})
    later = with_changes(resolve(assignments={"train.minutes": 1}), {f"train.{other}": 2})
    assert later.train.length_key == other and later.train.minutes is None
