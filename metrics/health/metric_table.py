"""The metrics of a store between two steps, as the prefilters of health conditions read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lmm_tui.metrics import names
from lmm_tui.metrics.health.rolling_stats import LARGEST
from lmm_tui.metrics.series.growing_array import Floats, Ints, union
from lmm_tui.metrics.series.series import SeriesStore

Mask: TypeAlias = NDArray[np.bool]


class MetricTable:
    """The columns of a store between two steps."""

    def __init__(self, store: SeriesStore, first: int, last: int) -> None:
        self._store = store
        self._span = first, last
        self.names = store.names()

    def column(self, name: str) -> tuple[Ints, Floats]:
        """Steps and values of a metric; empty where it was not measured."""
        series = self._store.get(name)
        if series is None:
            return np.empty(0, np.int64), np.empty(0)
        steps, _, values = series.between(*self._span)
        return steps, values

    def finite(self, name: str) -> tuple[Ints, Floats, int]:
        """Steps and finite values, clamped as `Recent` clamps; and the number of other values."""
        steps, values = self.column(name)
        finite = np.isfinite(values)
        others = len(values) - int(finite.sum())
        if others:
            steps, values = steps[finite], values[finite]
        return steps, np.clip(values, -LARGEST, LARGEST), others

    def layers(self) -> tuple[str, ...]:
        """The gradient norms of layers."""
        return tuple(name for name in self.names if name.startswith(names.GRAD_LAYER))


def aligned(columns: list[tuple[Ints, Floats]]) -> bool:
    """Whether all are measured at the same steps; at least one column."""
    first, _ = columns[0]
    return all(len(steps) == len(first) and bool((steps == first).all()) for steps, _ in columns)


def where_any(table: MetricTable, read: Iterable[str], test: Callable[[Floats], Mask]) -> Ints:
    """Steps at which any of some metrics passes a test."""
    columns = [table.column(name) for name in read]
    found = [steps[passed] for steps, values in columns if (passed := test(values)).any()]
    return union(found) if found else np.empty(0, np.int64)


if __name__ == "__main__":
    store = SeriesStore()
    store.extend(np.arange(4), {"loss": (None, np.array([1.0, np.nan, 2.0, 3.0]))})
    demo = MetricTable(store, 1, 3)
    print(demo.column("loss"), demo.finite("loss"))
    assert where_any(demo, demo.names, np.isnan).tolist() == [1]
    print("=== 自测通过 ===")
