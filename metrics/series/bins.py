"""A window of a series on the columns of a screen, kept so that a new value costs one column.

A column has the lowest, highest and mean finite value of its part of the x axis. Values arrive in
the order of x, so those that came since a window was binned lie in its last used column or beyond.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmm_tui.metrics.series.growing_array import Floats, Ints
from lmm_tui.metrics.series.pyramid import Reduced


@dataclass(frozen=True)
class Bins:
    """A window of a series on columns of equal width; arrays with one entry a column.

    low, high, mean: of the finite values in a column, NaN where it has none.
    nonfinite: how many NaN and infinite values a column has.
    """

    low: Floats
    high: Floats
    mean: Floats
    nonfinite: Ints

    def copy(self) -> Bins:
        return Bins(self.low.copy(), self.high.copy(), self.mean.copy(), self.nonfinite.copy())


@dataclass(frozen=True)
class BinnedWindow:
    """Bins of the first `size` values, and the sums from which more values are added to them."""

    bins: Bins
    total: Floats
    """Sum of the finite values in each column."""
    count: Ints
    """Number of finite values in each column."""
    size: int
    column: int
    """The first column that a value added later can lie in."""

    @classmethod
    def empty(cls, columns: int) -> BinnedWindow:
        low, high, mean = np.full((3, columns), np.nan)
        count, nonfinite = np.zeros((2, columns), np.int64)
        return cls(Bins(low, high, mean, nonfinite), np.zeros(columns), count, size=0, column=0)

    def open_edges(self, x0: float, x1: float, last_x: float) -> Floats:
        """Edges of the columns that values not binned yet, the last of them at `last_x`, lie in."""
        columns = len(self.count)
        share = min(max((last_x - x0) / (x1 - x0), 0.0), 1.0)
        end = min(int(share * columns) + 2, columns)
        edges = x0 + np.arange(self.column, end + 1) * (x1 - x0) / columns
        if end == columns:
            edges[-1] = np.nextafter(x1, np.inf)  # The last column includes x1.
        return edges

    def with_values(
        self, at: Ints, reduced: Reduced, nonfinite: Ints | int, size: int
    ) -> BinnedWindow:
        """The window of the first `size` values.

        Value positions at[i] to at[i+1] are new in column `self.column + i`; `reduced` summarises
        their finite values, and `nonfinite` counts the others.
        """
        part = slice(self.column, self.column + len(at) - 1)
        bins, total, count = self.bins.copy(), self.total.copy(), self.count.copy()
        low, high, added = reduced
        with np.errstate(over="ignore", invalid="ignore"):
            total[part] += added
        bins.nonfinite[part] += nonfinite
        found = at[1:] - at[:-1] - nonfinite
        count[part] += found
        low[found == 0] = high[found == 0] = np.nan
        # fmin and fmax take the number where the other one is NaN: an empty column.
        bins.low[part] = np.fmin(bins.low[part], low)
        bins.high[part] = np.fmax(bins.high[part], high)
        # A sum may overflow or round, but a mean never lies outside of low to high.
        mean = total[part] / np.maximum(count[part], 1)
        bins.mean[part] = np.fmin(np.fmax(mean, bins.low[part]), bins.high[part])
        bins.mean[part][count[part] == 0] = np.nan
        # The newest value lies in the last column that starts at or before it.
        newest = self.column + int(at.searchsorted(size - 1, side="right")) - 1
        return BinnedWindow(bins, total, count, size, min(max(newest, 0), len(count) - 1))


if __name__ == "__main__":
    window = BinnedWindow.empty(columns=4)
    print("edges:", window.open_edges(0.0, 8.0, last_x=3.0))
    column = np.array([1.0, np.nan]), np.array([3.0, np.nan]), np.array([4.0, 0.0])
    print(window.with_values(np.array([0, 2, 2]), Reduced(*column), nonfinite=0, size=2).bins)
    print("=== 自测通过 ===")
