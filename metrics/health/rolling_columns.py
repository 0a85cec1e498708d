"""Rolling means, deviations and extremes of whole columns, in O(values) for any window.

What `rolling_stats` gives number by number, for all numbers at once. The sums are taken in another
order, so results differ by rounding: `slack` bounds by how much.
"""

from __future__ import annotations

import math

import numpy as np

from lmm_tui.metrics.series.growing_array import Floats

NEARLY = 1e-6
"""Relative difference that two orders of summing may have, with a wide margin."""


def slack(*sizes: Floats | float) -> Floats:
    """By how much two sums of numbers of such sizes may differ by rounding."""
    total: Floats = np.asarray(sum(np.abs(size) for size in sizes))
    return NEARLY * total + np.finfo(float).tiny


def before(column: Floats) -> Floats:
    """The column one row later: at each row the value of the row before, NaN at the first."""
    return np.append(math.nan, column[:-1]) if len(column) else column


def rolling(values: Floats, window: int, of: np.ufunc) -> Floats:
    """`of` over the last `window` values at each row; NaN until there are so many.

    No value is ever subtracted, as a running sum would do: one huge value, which takes all digits
    of a sum, affects only the windows that contain it.
    """
    if len(values) < window:
        return np.full(len(values), math.nan)
    # Cut the column in blocks of `window` values. Any window is the end of one block (a value of
    # `ends`) and the start of the next (a value of `starts`), or exactly one block.
    blocks = -(-len(values) // window)
    padded = np.zeros(blocks * window)
    padded[: len(values)] = values
    square = padded.reshape(blocks, window)
    starts = of.accumulate(square, axis=1).ravel()
    ends = of.accumulate(square[:, ::-1], axis=1)[:, ::-1].ravel()
    result = starts[: len(values)].copy()
    within = np.arange(len(values)) % window != window - 1
    result[: window - 1] = math.nan
    inner = np.flatnonzero(within[window:]) + window
    result[inner] = of(starts[inner], ends[inner - window + 1])
    return result


def rolling_mean(values: Floats, window: int) -> Floats:
    return rolling(values, window, np.add) / window


def rolling_deviation(values: Floats, window: int) -> Floats:
    """Population standard deviation of the last `window` values at each row."""
    with np.errstate(over="ignore", invalid="ignore"):
        # E[x²] - E[x]² of differences to the median: little cancels.
        away = values - np.median(values) if len(values) else values
        square = rolling_mean(away * away, window) - rolling_mean(away, window) ** 2
        return np.sqrt(np.maximum(square, 0.0))


if __name__ == "__main__":
    column = np.arange(7.0)
    print(rolling(column, 3, np.maximum), rolling_mean(column, 3), before(column))
    assert rolling(column, 3, np.maximum)[2:].tolist() == [2, 3, 4, 5, 6]
    print("=== 自测通过 ===")
