"""The smoothed line of a curve: a centred average, so that it lies on its data.

An average of the values before a point only lags behind: on a curve that falls it floats above.
"""

from __future__ import annotations

import numpy as np

from lmm_tui.metrics.series.growing_array import Floats

SHARE = 0.03
"""Of the points in view, which a smoothed line averages around each."""
_MOST_AT_END = 50


def centred_mean(values: Floats, share: float = SHARE) -> Floats:
    """The mean of the values around each, `share` of those that are not NaN; NaN where it is NaN.

    Towards both ends fewer are averaged, as many on either side, so that nothing is shifted.
    """
    known = np.flatnonzero(np.isfinite(values))
    reach = int(share * len(known) / 2)
    if not reach:
        return values
    at = np.arange(len(known))
    around = np.minimum(np.minimum(at, at[::-1]), reach)
    centre = float(np.median(values[known]))  # Little cancels in sums of differences to it.
    sums = np.concatenate(([0.0], np.cumsum(values[known] - centre)))
    result = np.full(len(values), np.nan)
    result[known] = centre + (sums[at + around + 1] - sums[at - around]) / (2 * around + 1)
    return result


def on_band(line: Floats, low: Floats, high: Floats) -> Floats:
    """A line, moved where it leaves the values of its column and of the two beside it."""
    known = np.flatnonzero(np.isfinite(line))
    if not len(known):
        return line
    lows, highs = (np.pad(part[known], 1, mode="edge") for part in (low, high))
    lowest = np.minimum(np.minimum(lows[:-2], lows[1:-1]), lows[2:])
    highest = np.maximum(np.maximum(highs[:-2], highs[1:-1]), highs[2:])
    result = line.copy()
    result[known] = np.clip(line[known], lowest, highest)
    return result


def recent_mean(values: Floats) -> float:
    """The mean of the last finite values, a share of them: where a noisy curve is now.

    NaN where there are none.
    """
    count = int(np.clip(SHARE * len(values), 1, _MOST_AT_END))
    last = values[-4 * count :]
    finite = last[np.isfinite(last)][-count:]
    return float(finite.mean()) if len(finite) else float("nan")


if __name__ == "__main__":
    steps = np.arange(1, 401)
    falling = 2 + 5 * np.exp(-steps / 60) + 0.1 * np.sin(steps * 1.7)
    line = on_band(centred_mean(falling), falling, falling)
    print(np.abs(line - falling).max(), recent_mean(falling))
    assert np.abs(line - falling).max() < 0.35
    print("=== 自测通过 ===")
