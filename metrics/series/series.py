"""The series of a run in memory: one growing numpy column for each metric.

`SeriesStore` takes rows in, one a logged step. `Series` gives a metric's values and, for any
window, their low, high and mean on as many columns as a screen has, at a cost that does not grow
with the number of points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lmm_tui.metrics.metric_name import Better
from lmm_tui.metrics.series.bins import BinnedWindow, Bins
from lmm_tui.metrics.series.growing_array import Floats, GrowingArray, Ints
from lmm_tui.metrics.series.pyramid import Pyramid
from lmm_tui.metrics.series.row_index import Axis, RowIndex
from lmm_tui.metrics.series.row_values import INDEX_KEYS, MAX_STEP, number, whole_step

_KEPT_WINDOWS = 4

MOST_METRICS = 5_000
"""Of a store: names in a log may be made of data, a new one each row."""

Block: TypeAlias = Mapping[str, tuple[Ints | None, Floats]]
"""Per metric: the rows (positions in a block of rows) that have it, None for all; its values."""


class Point(NamedTuple):
    step: int
    value: float


class Series:
    """One metric of a store; a live view that grows with it."""

    def __init__(self, name: str, index: RowIndex) -> None:
        self.name = name
        self._index = index
        self._values = GrowingArray(np.float64)
        self._nonfinite = GrowingArray(np.int64)
        """Positions in `_values` of those that are NaN or infinite."""
        self._pyramid = Pyramid()
        self._first_row = 0
        self._rows: GrowingArray | None = None
        """The row of each value; None while every row from the first one on has a value, as of
        nearly every metric, which then costs no column of its own."""
        self._best: dict[str, tuple[int, int]] = {}
        """By direction: how many values were searched; the position of the best, -1 for none."""
        self._windows: dict[tuple[float, float, int, Axis], BinnedWindow] = {}

    def __len__(self) -> int:
        return len(self._values)

    @property
    def values(self) -> Floats:
        return self._values.view

    @property
    def steps(self) -> Ints:
        return self._index.step.view[self._rows_of(0, len(self))]

    @property
    def times(self) -> Floats:
        """Unix seconds; never decreasing."""
        return self._index.positions("time")[self._rows_of(0, len(self))]

    @property
    def tokens(self) -> Floats:
        """Tokens seen so far; never decreasing."""
        return self._index.positions("tokens")[self._rows_of(0, len(self))]

    @property
    def last_step(self) -> int | None:
        return int(self._index.step.view[self._row(len(self) - 1)]) if len(self) else None

    def between(self, first: int, last: int) -> tuple[Ints, Floats, Floats]:
        """Steps, times and values from step `first` to step `last`, both included."""
        rows = self._index.step.view.searchsorted([first, last + 1])
        begin, end = self._positions(rows).tolist()
        index, taken = self._index, self._rows_of(begin, end)
        return index.step.view[taken], index.positions("time")[taken], self.values[begin:end]

    def span(self, axis: Axis) -> tuple[float, float]:
        """Where the first and the last value are on an axis; only for a series that has values."""
        column = self._index.column(axis)
        return float(column[self._row(0)]), float(column[self._row(len(self) - 1)])

    def nearest(self, x: float, axis: Axis) -> Point | None:
        """The value measured closest to x; of two equally close, the earlier."""
        if not len(self):
            return None
        before = int(self._positions(self._index.rows_before(np.array([x]), axis))[0])
        around = [at for at in (before - 1, before) if 0 <= at < len(self)]
        column = self._index.column(axis)
        at = min(around, key=lambda at: abs(float(column[self._row(at)]) - x))
        return Point(int(self._index.step.view[self._row(at)]), float(self.values[at]))

    @property
    def last_value(self) -> float | None:
        return float(self.values[-1]) if len(self) else None

    def best(self, better: Better) -> Point | None:
        """The lowest or highest finite value so far, the first of equal ones.

        None where there is none, or where neither direction is better.
        """
        if better == "neither":
            return None
        # Only values added since the last call are searched.
        seen, position = self._best.get(better, (0, -1))
        values = self.values
        if seen < len(values):
            sign = 1.0 if better == "lower" else -1.0
            fresh = sign * values[seen:]
            fresh[~np.isfinite(fresh)] = np.inf
            found = int(fresh.argmin())
            if np.isfinite(fresh[found]) and (
                position < 0 or fresh[found] < sign * values[position]
            ):
                position = seen + found
            self._best[better] = (len(values), position)
        if position < 0:
            return None
        return Point(int(self._index.step.view[self._row(position)]), float(values[position]))

    def bins(self, x0: float, x1: float, columns: int, axis: Axis = "step") -> Bins:
        """The window [x0, x1] of an axis on equal columns, in time O(columns).

        A column has the values from its left edge up to, not including, its right edge; the last
        one includes x1. The arrays are shared with later calls: do not change them.
        """
        key = x0, x1, columns, axis
        window = self._windows.get(key)
        if window is None:
            window = BinnedWindow.empty(columns)
            if len(self._windows) == _KEPT_WINDOWS:
                del self._windows[next(iter(self._windows))]
        if window.size < len(self):
            edges = window.open_edges(x0, x1, self.span(axis)[1])
            # The first open column also has values that are binned already: only new ones count.
            at = np.maximum(self._positions(self._index.rows_before(edges, axis)), window.size)
            with np.errstate(over="ignore", invalid="ignore"):
                reduced = self._pyramid.reduce(self.values, at)
            bad = np.diff(self._nonfinite.view.searchsorted(at)) if len(self._nonfinite) else 0
            self._windows[key] = window = window.with_values(at, reduced, bad, len(self))
        return window.bins

    def _row(self, position: int) -> int:
        """The row of the store that has the value at a position, 0 the first."""
        rows = self._rows
        return self._first_row + position if rows is None else int(rows.view[position])

    def _rows_of(self, begin: int, end: int) -> slice | Ints:
        """The rows of the values from `begin` to `end`, as an index into a column of the store."""
        if self._rows is None:  # A slice gives a view; only gaps need a copy.
            return slice(self._first_row + begin, self._first_row + end)
        return self._rows.view[begin:end]

    def _positions(self, rows: Ints) -> Ints:
        """How many values belong to the rows before each of `rows`."""
        if self._rows is not None:
            return self._rows.view.searchsorted(rows)
        return np.minimum(np.maximum(rows - self._first_row, 0), len(self))

    def _extend(self, block_start: int, rows: Ints | None, values: Floats) -> None:
        """Add the values of a block of rows that starts at row `block_start` of the store.

        `rows` are positions in the block, None for all of it.
        """
        if not len(values):
            return
        first = block_start if rows is None else block_start + int(rows[0])
        gapless = rows is None or int(rows[-1]) - int(rows[0]) == len(rows) - 1
        if not len(self):
            self._first_row, self._rows = first, None
        if not (gapless and self._rows is None and first == self._first_row + len(self)):
            if self._rows is None:
                self._rows = GrowingArray(np.int64)
                self._rows.extend(np.arange(self._first_row, self._first_row + len(self)))
            self._rows.extend(block_start + (np.arange(len(values)) if rows is None else rows))
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            self._nonfinite.extend(len(self) + bad)
        self._values.extend(values)

    def _truncate(self, rows: int) -> None:
        """Keep the values of the first `rows` rows."""
        size = int(self._positions(np.array([rows]))[0])
        if size == len(self):
            return
        self._values.truncate(size)
        self._nonfinite.truncate(int(self._nonfinite.view.searchsorted(size)))
        self._pyramid.truncate(size)
        if self._rows is not None:
            self._rows.truncate(size)
        self._best.clear()
        self._windows.clear()


class Store(Protocol):
    """What a chart reads of one run or of several: see `SeriesStore` and `Overlay`."""

    def __len__(self) -> int: ...
    @property
    def generation(self) -> int: ...
    @property
    def last_step(self) -> int | None: ...
    def get(self, name: str) -> Series | None: ...
    def span(self, axis: Axis) -> tuple[float, float]: ...
    def translate(self, x: float, source: Axis, target: Axis) -> float: ...


class SeriesStore:
    """All series of one run.

    Steps strictly increase: a row before the last step comes from a resumed run, and the history
    after it is dropped. Of several rows of one step, the last value of each metric counts.
    """

    def __init__(self) -> None:
        self.version = 0
        """Grows with every change."""
        self.full = False
        """Whether metrics beyond the first MOST_METRICS were left out."""
        self._generation = 0
        self._index = RowIndex()
        self._series: dict[str, Series] = {}
        self._names: tuple[int, list[str]] = -1, []
        """Of a version."""

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._index)

    @property
    def generation(self) -> int:
        """Grows when history is dropped, not when rows are added."""
        return self._generation

    @property
    def last_step(self) -> int | None:
        return int(self._index.step.view[-1]) if len(self) else None

    @property
    def steps(self) -> Ints:
        """The step of every row."""
        return self._index.step.view

    def span(self, axis: Axis) -> tuple[float, float]:
        """Where the first and the last row are on an axis; only for a store that has rows."""
        column = self._index.column(axis)
        return float(column[0]), float(column[-1])

    def axis(self, axis: Axis) -> NDArray[np.int64 | np.float64]:
        """The position of every row on an axis; where it is unknown, that of a row beside it."""
        return self._index.column(axis)

    def known(self, axis: Axis) -> NDArray[np.bool]:
        """Which rows have a position of their own on an axis."""
        return self._index.known(axis)

    def translate(self, x: float, source: Axis, target: Axis) -> float:
        """Where on another axis the rows before x end; only for a store that has rows."""
        if source == target:
            return x
        row = int(self._index.rows_before(np.array([x]), source)[0])
        return float(self._index.column(target)[min(row, len(self) - 1)])

    def names(self) -> list[str]:
        """The metrics that have values, in the order in which they appeared."""
        version = self.version
        if self._names[0] != version:  # Several parts of a screen ask, with thousands of them.
            self._names = version, [name for name, series in self._series.items() if len(series)]
        return [*self._names[1]]

    def get(self, name: str) -> Series | None:
        series = self._series.get(name)
        return series if series else None

    def takes(self, name: str) -> bool:
        """Keep a place for a metric; False, and `full`, where none is left."""
        if name in self._series:
            return True
        if len(self._series) == MOST_METRICS:
            self.full = True
            return False
        self._series[name] = Series(name, self._index)
        return True

    def append(self, row: Mapping[str, object]) -> bool:
        """Add one row of metrics.jsonl; returns False, and adds nothing, without a usable step.

        A value that is not a number counts as not measured.
        """
        step = whole_step(row.get("step"))
        if step is None:
            return False
        self.truncate_from(step + 1)
        measured = {
            name: value
            for name, given in row.items()
            if name not in INDEX_KEYS and (value := number(given)) is not None and self.takes(name)
        }
        if step == self.last_step:
            # The row joins the one before; what it measures again is replaced.
            at = len(self) - 1
            for name in measured:
                if name in self._series:
                    self._series[name]._truncate(at)
            self._generation += 1
        else:
            at = len(self)
            self._index.extend(
                np.array([step]),
                np.array([_finite_or_nan(row.get("time"))]),
                np.array([_finite_or_nan(row.get("tokens"))]),
                np.array([_finite_or_nan(row.get("epoch"))]),
            )
        for name, value in measured.items():
            self._series[name]._extend(at, None, np.array([value]))
        self.version += 1
        return True

    def extend(
        self,
        steps: Ints,
        block: Block,
        times: Floats | None = None,
        tokens: Floats | None = None,
        epochs: Floats | None = None,
    ) -> None:
        """Add many rows at once: `steps` strictly increasing and beyond `last_step`.

        NaN in `times`, `tokens` or `epochs` means unknown. Raises ValueError where the steps do
        not increase.
        """
        last = self.last_step
        if len(steps) == 0:
            return
        if (last is not None and steps[0] <= last) or (np.diff(steps) <= 0).any():
            raise ValueError("steps must strictly increase; use append for a resumed run")
        start = len(self)
        missing = np.full(len(steps), np.nan)
        self._index.extend(
            steps,
            missing if times is None else times,
            missing if tokens is None else tokens,
            missing if epochs is None else epochs,
        )
        for name, (rows, values) in block.items():
            if self.takes(name):
                self._series[name]._extend(start, rows, values)
        self.version += 1

    def truncate_from(self, step: int) -> None:
        """Drop all rows at or after `step`."""
        last = self.last_step
        if last is None or step > last:
            return
        rows = int(self._index.step.view.searchsorted(step))
        for series in self._series.values():
            series._truncate(rows)
        self._index.truncate(rows)
        self.version += 1
        self._generation += 1

    def clear(self) -> None:
        """Drop everything."""
        self.truncate_from(-MAX_STEP)
        if self.full:
            self._series.clear()
            self.full = False


def _finite_or_nan(value: object) -> float:
    found = number(value)
    return found if found is not None and math.isfinite(found) else math.nan


if __name__ == "__main__":
    store = SeriesStore()
    for at in range(1, 1001):
        store.append({"step": at, "tokens": at * 64, "train/loss": 9.0 / at})
    store.append({"step": 900, "train/loss": 0.5})  # Resumed from step 899.
    for loss in filter(None, [store.get("train/loss")]):
        print(loss.last_step, loss.bins(0, 1000, 5), loss.best("lower"))
    print("=== 自测通过 ===")
