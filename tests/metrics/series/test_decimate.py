"""Decimated series against the values themselves: nothing is lost, nothing is made up."""

import numpy as np
import pytest

from lmm_tui.metrics.series.decimate import decimate
from lmm_tui.metrics.series.series import SeriesStore


@pytest.mark.parametrize("most", [7, 100, 5000])
def test_each_bin_has_the_extremes_the_mean_and_the_nans_of_its_steps(most: int) -> None:
    rng = np.random.default_rng(most)
    steps = np.cumsum(rng.integers(1, 4, 2000))
    values = rng.normal(size=2000)
    values[[5, 700, 701]] = 80.0, np.nan, -np.inf
    store = SeriesStore()
    store.extend(steps, {"x": (None, values)})
    series = store.get("x")
    assert series is not None
    found = decimate(series, most, 30, 3000)
    asked = (steps >= 30) & (steps <= 3000)
    assert len(found.steps) <= most
    assert found.nonfinite.sum() == np.count_nonzero(~np.isfinite(values[asked]))
    seen = 0
    for at, first in enumerate(found.steps.tolist()):
        inside = values[asked & (steps >= first) & (steps < first + found.width)]
        seen += len(inside)
        finite = inside[np.isfinite(inside)]
        assert found.nonfinite[at] == len(inside) - len(finite)
        if len(finite):
            assert (found.low[at], found.high[at]) == (finite.min(), finite.max())
            assert found.mean[at] == pytest.approx(finite.mean(), abs=1e-12)
        else:
            assert np.isnan([found.low[at], found.mean[at], found.high[at]]).all()
    assert seen == asked.sum()
