"""The y range of a chart that a few outliers do not stretch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmm_tui.metrics.series.growing_array import Floats


def robust_range(
    low: Sequence[float] | Floats, high: Sequence[float] | Floats
) -> tuple[float, float] | None:
    """The y range of columns with the given lows and highs, without their outliers.

    An outlier lies outside the 5 % and 95 % quantiles by more than three times their distance
    (Tukey's fences with wider hinges, because the steep start of a curve is no outlier). None
    where no column has a finite value.
    """
    lows, highs = np.asarray(low, float), np.asarray(high, float)
    finite = np.isfinite(lows) & np.isfinite(highs)
    lows, highs = lows[finite], highs[finite]
    if not len(lows):
        return None
    lows.sort()
    highs.sort()
    edge = round(0.05 * (len(lows) - 1))
    bottom, top = float(lows[edge]), float(highs[-1 - edge])
    reach = 3.0 * (top - bottom)
    # The extremes of the values inside the fences, not the fences: no empty margin is drawn.
    inner_low = lows[lows.searchsorted(bottom - reach)]
    inner_high = highs[highs.searchsorted(top + reach, side="right") - 1]
    return float(inner_low), float(inner_high)


if __name__ == "__main__":
    curve = 2.5 + 4.5 * np.exp(-np.arange(200) / 20)
    spiky = curve.copy()
    spiky[120] = 1e9
    print(robust_range(curve, spiky))
    assert robust_range(curve, spiky) == (curve.min(), curve.max())
    print("=== 自测通过 ===")
