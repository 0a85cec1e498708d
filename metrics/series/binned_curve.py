"""A series as few numbers, for an answer or a page of bounded size: points as they are, or bins."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lmm_tui.metrics.series.series import Series

_DIGITS = 6


@dataclass(frozen=True)
class BinnedCurve:
    """Of equal length: the first step of each bin, and lowest, mean and highest value there.

    Empty bins are left out; one with non-finite values alone has None. `width` is in steps, 1 for
    points as they are.
    """

    steps: list[int]
    low: list[float | None]
    mean: list[float | None]
    high: list[float | None]
    width: int = 1
    nonfinite: int = 0


def binned(one: Series, most: int, first: int = 0, last: int | None = None) -> BinnedCurve:
    """The values from step `first` to step `last`, both included, in at most `most` bins.

    The series has values.
    """
    steps, _, values = one.between(first, int(one.steps[-1]) if last is None else last)
    if len(steps) <= most:
        points = [_rounded(float(value)) for value in values]
        return BinnedCurve([*map(int, steps)], points, points, points, 1, points.count(None))
    low, high = int(steps[0]), int(steps[-1])
    width = math.ceil((high + 1 - low) / most)
    columns = math.ceil((high + 1 - low) / width)
    edge = low - 0.5  # Between two steps, as the last bin includes its right edge.
    bins = one.bins(edge, edge + columns * width, columns)
    kept = [at for at in range(columns) if bins.nonfinite[at] or not math.isnan(bins.mean[at])]
    return BinnedCurve(
        [low + at * width for at in kept],
        [_rounded(float(bins.low[at])) for at in kept],
        [_rounded(float(bins.mean[at])) for at in kept],
        [_rounded(float(bins.high[at])) for at in kept],
        width,
        int(bins.nonfinite.sum()),
    )


def _rounded(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


if __name__ == "__main__":
    from lmm_tui.metrics.series.series import SeriesStore

    store = SeriesStore()
    for step in range(1, 1001):
        store.append({"step": step, "loss": 9.0 if step == 500 else 2.5})
    loss = store.get("loss")
    assert loss is not None
    few = binned(loss, 10)
    print(few)
    assert len(few.steps) == 10 and max(filter(None, few.high)) == 9.0
    print("=== 自测通过 ===")
