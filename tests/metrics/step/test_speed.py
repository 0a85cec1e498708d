"""Speed counts the time of steps and nothing else."""

import pytest

from lmm_tui.metrics.step.speed import SpeedMeter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def meter_with_clock(**settings: float | int) -> tuple[SpeedMeter, Clock]:
    clock = Clock()
    return SpeedMeter(clock=clock, **settings), clock


def run_step(meter: SpeedMeter, clock: Clock, seconds: float, tokens: int = 1000) -> None:
    clock.now += seconds
    meter.step(tokens)


def test_nothing_is_known_before_a_second_step() -> None:
    meter, clock = meter_with_clock(flops_per_token=1.0, peak_flops=1.0)
    run_step(meter, clock, 30.0)
    assert meter.steps_per_s is meter.tokens_per_s is meter.mfu is meter.seconds_for(5) is None


def test_first_step_is_not_counted() -> None:
    meter, clock = meter_with_clock()
    run_step(meter, clock, 60.0)
    run_step(meter, clock, 0.5)
    assert meter.steps_per_s == 2.0 and meter.tokens_per_s == 2000.0


def test_time_aside_is_not_counted_even_when_nested() -> None:
    meter, clock = meter_with_clock()
    run_step(meter, clock, 1.0)
    with meter.excluded():
        clock.now += 10.0
        with meter.excluded():
            clock.now += 10.0
        clock.now += 10.0
    run_step(meter, clock, 2.0)
    assert meter.steps_per_s == pytest.approx(0.5)


def test_time_aside_is_not_counted_when_it_raises() -> None:
    meter, clock = meter_with_clock()
    run_step(meter, clock, 1.0)
    with pytest.raises(ValueError, match="stop"), meter.excluded():
        clock.now += 10.0
        raise ValueError("stop")
    run_step(meter, clock, 2.0)
    assert meter.steps_per_s == pytest.approx(0.5)


def test_only_the_window_counts() -> None:
    meter, clock = meter_with_clock(window=3)
    for seconds in (1.0, 100.0, 100.0, 1.0, 1.0, 1.0):
        run_step(meter, clock, seconds)
    assert meter.steps_per_s == pytest.approx(1.0)


def test_steps_of_different_sizes_are_weighted_by_their_tokens() -> None:
    meter, clock = meter_with_clock()
    run_step(meter, clock, 1.0)
    run_step(meter, clock, 1.0, tokens=100)
    run_step(meter, clock, 3.0, tokens=1100)
    assert meter.tokens_per_s == pytest.approx(300.0)


def test_utilisation_and_time_left() -> None:
    meter, clock = meter_with_clock(flops_per_token=6e6, peak_flops=1e12)
    run_step(meter, clock, 1.0)
    run_step(meter, clock, 0.1, tokens=8192)
    assert meter.mfu == pytest.approx(6e6 * 81920 / 1e12)
    assert meter.seconds_for(30) == pytest.approx(3.0)


def test_utilisation_of_an_unknown_device_is_not_made_up() -> None:
    meter, clock = meter_with_clock(flops_per_token=6e6)
    run_step(meter, clock, 1.0)
    run_step(meter, clock, 1.0)
    assert meter.mfu is None
