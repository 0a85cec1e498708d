"""Smoothed lines lie on their data, however long the run is and wherever one looks."""

import numpy as np
import pytest

from lmm_tui.metrics.series.smoothing import centred_mean, on_band, recent_mean


def falling(steps: int, noise: float, seed: int = 0) -> np.ndarray:
    """The loss of a run that learns: fast at first, then ever more slowly."""
    at = np.arange(1, steps + 1)
    rng = np.random.default_rng(seed)
    return 2.5 + 4.4 * np.exp(-at / (steps / 12)) + rng.normal(0, noise, steps)


@pytest.mark.parametrize("steps", [20, 100, 300, 1000, 5000])
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.15])
def test_on_a_falling_curve_the_line_lies_in_the_raw_band_at_every_step(
    steps: int, noise: float
) -> None:
    raw = falling(steps, noise)
    line = on_band(centred_mean(raw), raw, raw)
    for at in range(steps):
        near = raw[max(at - 1, 0) : at + 2]
        assert near.min() <= line[at] <= near.max()


def test_a_centred_mean_is_the_mean_of_the_values_around_each() -> None:
    raw = falling(400, 0.1)
    line, reach = centred_mean(raw), 6  # 3 % of 400 are 12: six on either side.
    for at in range(400):
        near = min(at, 399 - at, reach)
        assert line[at] == pytest.approx(raw[at - near : at + near + 1].mean())


def test_a_constant_stays_constant_and_noise_shrinks() -> None:
    assert np.array_equal(centred_mean(np.full(500, 3.5)), np.full(500, 3.5))
    noise = np.random.default_rng(1).normal(0, 1, 2000)
    assert centred_mean(noise)[100:-100].std() < 0.2


def test_what_is_not_finite_is_left_out_and_stays_a_gap() -> None:
    raw = falling(300, 0.05)
    raw[[50, 51, 200]] = np.nan, np.inf, -np.inf
    line = centred_mean(raw)
    assert np.isnan(line[[50, 51, 200]]).all() and np.isfinite(np.delete(line, [50, 51, 200])).all()


def test_the_number_of_now_is_the_mean_of_the_last_raw_values() -> None:
    raw = falling(1000, 0.1)
    assert recent_mean(raw) == pytest.approx(raw[-30:].mean())
    assert recent_mean(raw[:20]) == raw[19]
    assert recent_mean(np.append(raw, np.nan)) == pytest.approx(raw[-30:].mean())
    assert np.isnan(recent_mean(np.array([np.nan])))
