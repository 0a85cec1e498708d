"""A series as the curve of a plot: columns, and the stretches in which it is not finite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmm_tui.metrics.series.decimate import decimate
from lmm_tui.metrics.series.growing_array import Floats
from lmm_tui.metrics.series.series import Series, SeriesStore
from lmm_tui.metrics.series.smoothing import centred_mean, on_band

COLUMNS = 600


@dataclass(frozen=True)
class StepWindow:
    """The steps that a page shows, and the steps from which the run was resumed."""

    first: float
    last: float
    resumed: tuple[int, ...] = ()

    @classmethod
    def of(cls, store: SeriesStore, resumed: Sequence[int] = ()) -> StepWindow:
        """All steps of a run, from 0 on unless its first row is far from there."""
        starts = [series.steps[0] for name in store.names() if (series := store.get(name))]
        first, last = float(min(starts, default=0)), float(store.last_step or 0)
        if first <= last * 0.05:
            first = 0.0
        first = min(first, last - 1)
        return cls(first, last, tuple(step for step in resumed if first < step < last))


@dataclass(frozen=True)
class Curve:
    """A series as it is drawn: up to COLUMNS columns, or its points if they are no more.

    low, high, mean: NaN where a column has no finite value. broken: (n, 2), the start and end of
    each stretch of adjacent columns with a NaN or infinite value.
    """

    x: Floats
    low: Floats
    high: Floats
    mean: Floats
    broken: Floats

    @classmethod
    def of(cls, series: Series, window: StepWindow) -> Curve:
        found = decimate(series, COLUMNS, int(series.steps[0]))
        x, width = found.middles, float(found.width)
        if len(series) <= COLUMNS:
            # Points have no width; a broken one is as wide as the smallest distance of two.
            width = float(np.diff(x).min(initial=window.last - window.first))
        stretches = _stretches(x, found.nonfinite > 0, width)
        return cls(x, found.low, found.high, found.mean, stretches)

    @property
    def is_band(self) -> bool:
        """Whether any column holds more than one value."""
        return bool((self.low < self.high).any())

    def smoothed(self) -> Curve:
        """The centred average of the means, within the values around each."""
        line = on_band(centred_mean(self.mean), self.low, self.high)
        return Curve(self.x, line, line, line, self.broken)

    def mapped(self, rising: Callable[[Floats], Floats]) -> Curve:
        """The curve of an increasing function of the values."""
        return Curve(self.x, rising(self.low), rising(self.high), rising(self.mean), self.broken)


def _stretches(x: Floats, flags: NDArray[np.bool_], width: float) -> Floats:
    """The start and end, (n, 2), of stretches of flagged columns around `x`, each `width` wide."""
    # Padded with False, the flags change an even number of times: at the first column of a stretch
    # and at the first one after it, in turn.
    changes = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(int)))
    starts, ends = x[changes[::2]], x[changes[1::2] - 1]
    return np.stack((starts - width / 2, ends + width / 2), axis=1)


if __name__ == "__main__":
    store = SeriesStore()
    for at in range(1, 2001):
        store.append({"step": at, "loss": float("nan") if at == 700 else 8.0 / at**0.5})
    for loss in filter(None, [store.get("loss")]):
        print(Curve.of(loss, StepWindow.of(store)))
    print("=== 自测通过 ===")
