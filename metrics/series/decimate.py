"""A series as few columns without losing a spike or a NaN: its points as they are, or bins.

Pages of plots, reports and answers of bounded size are made of these; a chart of the terminal takes
the same bins of `Series` at the columns it has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lmm_tui.metrics.series.growing_array import Floats, Ints
from lmm_tui.metrics.series.series import Series

_DIGITS = 6


@dataclass(frozen=True)
class Decimated:
    """Of equal length: the first step of each bin, lowest, mean and highest value there (NaN where
    none is finite), and how many values are not finite.

    Empty bins are left out. `width` is in steps, 1 for points as they are.
    """

    steps: Ints
    low: Floats
    mean: Floats
    high: Floats
    nonfinite: Ints
    width: int = 1

    @property
    def middles(self) -> Floats:
        """The middle of each bin, in steps."""
        return self.steps.astype(np.float64) + (self.width - 1) / 2


def decimate(one: Series, most: int, first: int = 0, last: int | None = None) -> Decimated:
    """The values from step `first` to step `last`, both included, in at most `most` bins.

    The series has values.
    """
    steps, _, values = one.between(first, int(one.steps[-1]) if last is None else last)
    if len(steps) <= most:
        finite = np.isfinite(values)
        points = np.where(finite, values, np.nan)
        return Decimated(steps.copy(), points, points, points, (~finite).astype(int))
    begin, after = int(steps[0]), int(steps[-1]) + 1
    width = math.ceil((after - begin) / most)
    whole = (after - begin) // width
    # Edges are between two steps; the last bin may be narrower, as it ends with the last step.
    rest = begin + whole * width
    parts = [one.bins(begin - 0.5, rest - 0.5, whole)]
    if rest < after:
        parts.append(one.bins(rest - 0.5, after - 0.5, 1))
    nonfinite, *columns = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("nonfinite", "low", "mean", "high")
    )
    kept = np.flatnonzero((nonfinite > 0) | ~np.isnan(columns[1]))
    low, mean, high = (column[kept] for column in columns)
    return Decimated(begin + kept * width, low, mean, high, nonfinite[kept], width)


def as_json(values: Floats) -> list[float | None]:
    """Six digits of each number, None for one that is not finite."""
    return [
        float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None for value in values.tolist()
    ]


if __name__ == "__main__":
    from lmm_tui.metrics.series.series import SeriesStore

    store = SeriesStore()
    for step in range(1, 1001):
        store.append({"step": step, "loss": 9.0 if step == 500 else 2.5})
    loss = store.get("loss")
    assert loss is not None
    few = decimate(loss, 10)
    print(as_json(few.high), few.middles)
    assert len(few.steps) == 10 and few.high.max() == 9.0
    print("=== 自测通过 ===")
