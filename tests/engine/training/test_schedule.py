"""The learning rate's shape: exact at its corners, within bounds everywhere."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm_tui.engine.config.sections.optim_config import OptimConfig
from lmm_tui.engine.training.schedule import lr_curve, lr_factor


@pytest.mark.parametrize(
    ("schedule", "step", "factor"),
    [
        ("cosine", 0, 0.1),
        ("cosine", 9, 1.0),
        ("cosine", 54, 0.55),
        ("cosine", 99, 0.1),
        ("wsd", 9, 1.0),
        ("wsd", 79, 1.0),
        ("wsd", 84, 0.55),
        ("wsd", 99, 0.1),
        ("minimind", 49, 0.55),
        ("minimind", 99, 0.1),
        ("constant", 4, 0.5),
        ("constant", 99, 1.0),
    ],
)
def test_every_schedule_has_its_exact_values(schedule: str, step: int, factor: float) -> None:
    config = OptimConfig(schedule=schedule, warmup_steps=10, min_lr_ratio=0.1, decay_fraction=0.2)
    assert lr_factor(step, 100, config) == pytest.approx(factor, abs=1e-12)


def test_minimind_starts_at_its_peak_without_warm_up() -> None:
    config = OptimConfig(schedule="minimind", warmup_steps=50)
    assert lr_factor(0, 1000, config) == 0.1 + 0.45 * (1 + math.cos(math.pi / 1000))


@given(
    schedule=st.sampled_from(["cosine", "wsd", "minimind", "constant"]),
    warmup=st.integers(0, 300),
    total=st.integers(1, 200),
    ratio=st.floats(0, 1),
)
def test_factors_stay_between_nothing_and_the_peak(
    schedule: str, warmup: int, total: int, ratio: float
) -> None:
    config = OptimConfig(schedule=schedule, warmup_steps=warmup, min_lr_ratio=ratio)
    curve = lr_curve(total, config, points=50)
    assert all(0 <= factor <= 1 for factor in curve)
    assert curve[-1] == lr_factor(total - 1, total, config) == lr_factor(total + 5, total, config)


@pytest.mark.parametrize("schedule", ["cosine", "wsd"])
def test_the_last_step_has_the_smallest_rate_exactly_and_keeps_it(schedule: str) -> None:
    config = OptimConfig.model_validate({"schedule": schedule, "min_lr_ratio": 0.3})
    assert lr_factor(999, 1000, config) == lr_factor(5000, 1000, config) == 0.3
    assert lr_factor(19, 1000, config) == 1.0
