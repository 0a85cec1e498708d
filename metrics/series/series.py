"""Series in memory: what a run measured, as growing numpy columns.

Rows go in, one a logged step; per metric come out its values and, for any window, their low,
high and mean on as many columns as a screen has, at a cost that does not depend on how many
points there are. It knows no files and no screen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Literal, NamedTuple, Protocol, TypeAlias

import numpy as np

from lmm_tui.metrics.names import Better
from lmm_tui.metrics.series.growing_array import Floats, GrowingArray, Ints
from lmm_tui.metrics.series.pyramid import Pyramid
from lmm_tui.metrics.values import NON_FINITE

Axis = Literal["step", "tokens", "time", "epoch"]

INDEX_KEYS = ("step", "time", "tokens", "epoch")
"""The keys of a row that say where it is; all others are metrics."""

MAX_STEP = 2**53

_KEPT_WINDOWS = 4
"""Windows per series whose bins are kept, so that a new value costs one column, not all."""

Block: TypeAlias = Mapping[str, tuple[Ints | None, Floats]]
"""Per metric: the rows (positions in a block of rows) that have it, None for all; its values."""


@dataclass(frozen=True)
class Bins:
    """A window of a series on `columns` columns of equal width; arrays of that length.

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
class _Kept:
    """Bins of the first `size` values, the last of which lies in `column` or beyond."""

    bins: Bins
    total: Floats
    count: Ints
    """Of the finite values in each column."""
    size: int
    column: int


class Point(NamedTuple):
    step: int
    value: float


def number(value: object) -> float | None:
    """A measured value as a float, or None for what is not a number (null, bool, text, lists)."""
    if type(value) is float:
        return value
    if isinstance(value, str):
        return NON_FINITE.get(value)
    if isinstance(value, Real) and not isinstance(value, bool | np.bool):
        try:
            return float(value)
        except OverflowError:
            return None
    return None


def whole_step(value: object) -> int | None:
    """The step of a row, or None where that is not a whole number below 2**53."""
    step = number(value) if not isinstance(value, str) else None
    if step is None or not abs(step) <= MAX_STEP or step != int(step):
        return None
    return int(step)


class _Index:
    """Where the rows are on the four axes, shared by all series of a store."""

    def __init__(self) -> None:
        self.step = GrowingArray(np.int64)
        self.time = GrowingArray(np.float64)
        self.tokens = GrowingArray(np.float64)
        self.epoch = GrowingArray(np.float64)

    def __len__(self) -> int:
        return len(self.step)

    def truncate(self, size: int) -> None:
        for column in (self.step, self.time, self.tokens, self.epoch):
            column.truncate(size)

    def rows_at(self, positions: Floats, axis: Axis) -> Ints:
        """How many rows lie before each of `positions` (ascending) on an axis."""
        if axis != "step":
            return getattr(self, axis).view.searchsorted(positions)
        # Comparing in int64 keeps numpy from converting the whole column to float.
        inside = np.minimum(np.maximum(np.ceil(positions), -MAX_STEP), MAX_STEP + 1)
        bounds = inside.astype(np.int64)
        return self.step.view.searchsorted(bounds)


class Series:
    """One metric of a store; a live view that grows with it."""

    def __init__(self, name: str, index: _Index) -> None:
        self.name = name
        self._index = index
        self._values = GrowingArray(np.float64)
        self._nonfinite = GrowingArray(np.int64)
        self._pyramid = Pyramid()
        self._first_row = 0
        self._rows: GrowingArray | None = None  # None: every row from the first on has a value
        self._best: dict[str, tuple[int, int]] = {}
        self._kept: dict[tuple[float, float, int, Axis], _Kept] = {}

    def __len__(self) -> int:
        return len(self._values)

    @property
    def values(self) -> Floats:
        return self._values.view

    @property
    def steps(self) -> Ints:
        return self._of_rows(self._index.step)

    @property
    def times(self) -> Floats:
        """Unix seconds; never decreasing."""
        return self._of_rows(self._index.time)

    @property
    def tokens(self) -> Floats:
        """Tokens seen so far; never decreasing."""
        return self._of_rows(self._index.tokens)

    @property
    def last_step(self) -> int | None:
        return int(self._index.step.view[self._row(len(self) - 1)]) if len(self) else None

    def between(self, first: int, last: int) -> tuple[Ints, Floats, Floats]:
        """Steps, times and values of the steps from `first` to `last`, in time O(what is there)."""
        rows = self._index.step.view.searchsorted([first, last + 1])
        begin, end = self._positions(rows).tolist()
        held = (
            slice(self._first_row + begin, self._first_row + end)
            if self._rows is None
            else self._rows.view[begin:end]
        )
        index = self._index
        return index.step.view[held], index.time.view[held], self.values[begin:end]

    def span(self, axis: Axis) -> tuple[float, float]:
        """Where the first and the last value are on an axis; only for a series that has values."""
        column = getattr(self._index, axis).view
        return float(column[self._row(0)]), float(column[self._row(len(self) - 1)])

    def nearest(self, x: float, axis: Axis) -> Point | None:
        """The value that was measured closest to x, the earlier where two are."""
        if not len(self):
            return None
        before = int(self._positions(self._index.rows_at(np.array([x]), axis))[0])
        around = [at for at in (before - 1, before) if 0 <= at < len(self)]
        column = getattr(self._index, axis).view
        at = min(around, key=lambda at: abs(float(column[self._row(at)]) - x))
        return Point(int(self._index.step.view[self._row(at)]), float(self.values[at]))

    @property
    def last_value(self) -> float | None:
        return float(self.values[-1]) if len(self) else None

    def best(self, better: Better) -> Point | None:
        """The lowest or highest finite value so far, the first where several are equal.

        None where there is none, or where neither way is better.
        """
        if better == "neither":
            return None
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

        Do not change the arrays: they are kept, and brought up to date when values were added.
        A column holds the values from its left edge up to, not including, its right edge; the
        last one includes x1.
        """
        window = x0, x1, columns, axis
        kept = self._kept.get(window)
        if kept is None:
            low, high, mean = np.full((3, columns), np.nan)
            count, nonfinite = np.zeros((2, columns), np.int64)
            bins = Bins(low, high, mean, nonfinite)
            kept = _Kept(bins, np.zeros(columns), count, size=0, column=0)
            if len(self._kept) == _KEPT_WINDOWS:
                del self._kept[next(iter(self._kept))]
        if kept.size < len(self):
            self._kept[window] = kept = self._with_new_values(kept, x0, x1, axis)
        return kept.bins

    def _with_new_values(self, kept: _Kept, x0: float, x1: float, axis: Axis) -> _Kept:
        """`kept` with the values that it does not have yet."""
        columns = len(kept.count)
        # No value is before an earlier one: new ones lie between two columns.
        _, last_x = self.span(axis)
        share = min(max((last_x - x0) / (x1 - x0), 0.0), 1.0)
        end = min(int(share * columns) + 2, columns)
        edges = x0 + np.arange(kept.column, end + 1) * (x1 - x0) / columns
        if end == columns:
            edges[-1] = np.nextafter(x1, np.inf)
        at = np.maximum(self._positions(self._index.rows_at(edges, axis)), kept.size)
        newest = kept.column + int(at.searchsorted(len(self) - 1, side="right")) - 1

        part = slice(kept.column, end)
        bins = kept.bins.copy()
        total, count = kept.total.copy(), kept.count.copy()
        with np.errstate(over="ignore", invalid="ignore"):
            low, high, added = self._pyramid.reduce(self.values, at)
            total[part] += added
        found = at[1:] - at[:-1]
        if len(self._nonfinite):
            bad = np.diff(self._nonfinite.view.searchsorted(at))
            bins.nonfinite[part] += bad
            found = found - bad
        count[part] += found
        low[found == 0] = high[found == 0] = np.nan
        bins.low[part] = np.fmin(bins.low[part], low)
        bins.high[part] = np.fmax(bins.high[part], high)
        # A sum may overflow or round; a mean lies between its lowest and highest value.
        mean = total[part] / np.maximum(count[part], 1)
        bins.mean[part] = np.fmin(np.fmax(mean, bins.low[part]), bins.high[part])
        bins.mean[part][count[part] == 0] = np.nan
        return _Kept(bins, total, count, len(self), min(max(newest, 0), columns - 1))

    def _row(self, position: int) -> int:
        """The row of the store that has the value at a position, 0 the first."""
        rows = self._rows
        return self._first_row + position if rows is None else int(rows.view[position])

    def _of_rows(self, column: GrowingArray) -> np.ndarray:
        if self._rows is not None:
            return column.view[self._rows.view]
        return column.view[self._first_row : self._first_row + len(self)]

    def _positions(self, rows: Ints) -> Ints:
        """How many values belong to the rows before each of `rows`."""
        if self._rows is not None:
            return self._rows.view.searchsorted(rows)
        return np.minimum(np.maximum(rows - self._first_row, 0), len(self))

    def _extend(self, block_start: int, rows: Ints | None, values: Floats) -> None:
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
        """Keep what belongs to the first `rows` rows."""
        size = int(self._positions(np.array([rows]))[0])
        if size == len(self):
            return
        self._values.truncate(size)
        self._nonfinite.truncate(int(self._nonfinite.view.searchsorted(size)))
        self._pyramid.truncate(size)
        if self._rows is not None:
            self._rows.truncate(size)
        self._best.clear()
        self._kept.clear()


class Store(Protocol):
    """What a picture needs to know of what it draws."""

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

    Steps only grow: a row at or before the last step comes from a resumed run, and what it
    supersedes is dropped. Of several rows of one step, the last value of each metric counts.
    """

    def __init__(self) -> None:
        self.version = 0
        """Grows with every change."""
        self._generation = 0
        self._index = _Index()
        self._series: dict[str, Series] = {}

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._index)

    @property
    def generation(self) -> int:
        """Grows when history was dropped, not when rows were added."""
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
        column = getattr(self._index, axis).view
        return float(column[0]), float(column[-1])

    def translate(self, x: float, source: Axis, target: Axis) -> float:
        """Where on another axis the rows before x end; only for a store that has rows."""
        if source == target:
            return x
        row = int(self._index.rows_at(np.array([x]), source)[0])
        return float(getattr(self._index, target).view[min(row, len(self) - 1)])

    def names(self) -> list[str]:
        """The metrics that have values, in the order in which they appeared."""
        return [name for name, series in self._series.items() if len(series)]

    def get(self, name: str) -> Series | None:
        series = self._series.get(name)
        return series if series else None

    def append(self, row: Mapping[str, object]) -> bool:
        """Add one row of metrics.jsonl; False, and nothing done, where it has no usable step.

        What is not a number is taken as not measured.
        """
        step = whole_step(row.get("step"))
        if step is None:
            return False
        self.truncate_from(step + 1)
        measured = {
            name: value
            for name, given in row.items()
            if name not in INDEX_KEYS and (value := number(given)) is not None
        }
        if step == self.last_step:
            at = len(self) - 1
            for name in measured:
                if name in self._series:
                    self._series[name]._truncate(at)
            self._generation += 1
        else:
            at = len(self)
            self._extend_index(
                np.array([step]),
                np.array([_finite_or_nan(row.get("time"))]),
                np.array([_finite_or_nan(row.get("tokens"))]),
                np.array([_finite_or_nan(row.get("epoch"))]),
            )
        for name, value in measured.items():
            self._series_of(name)._extend(at, None, np.array([value]))
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

        NaN in `times`, `tokens` or `epochs` is taken as not given. Raises ValueError where the
        steps do not increase.
        """
        last = self.last_step
        if len(steps) == 0:
            return
        if (last is not None and steps[0] <= last) or (np.diff(steps) <= 0).any():
            raise ValueError("steps must strictly increase; use append for a resumed run")
        start = len(self)
        missing = np.full(len(steps), np.nan)
        self._extend_index(
            steps,
            missing if times is None else times,
            missing if tokens is None else tokens,
            missing if epochs is None else epochs,
        )
        for name, (rows, values) in block.items():
            self._series_of(name)._extend(start, rows, values)
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

    def _series_of(self, name: str) -> Series:
        series = self._series.get(name)
        if series is None:
            series = self._series[name] = Series(name, self._index)
        return series

    def _extend_index(self, steps: Ints, times: Floats, tokens: Floats, epochs: Floats) -> None:
        # Clocks step back and rows lack a time; what is searched must be sorted.
        index = self._index
        for column, given in ((index.time, times), (index.tokens, tokens), (index.epoch, epochs)):
            floor = column.view[-1] if len(column) else 0.0
            known = np.where(np.isfinite(given), given, floor)
            column.extend(np.maximum(np.maximum.accumulate(known), floor))
        self._index.step.extend(steps)


def robust_range(
    low: Sequence[float] | Floats, high: Sequence[float] | Floats
) -> tuple[float, float] | None:
    """The y range of columns with the given lows and highs, without their outliers.

    An outlier lies beyond three times the spread of the 5 % to 95 % quantiles, outside of these
    (Tukey's fences, with wider hinges, because the steep start of a curve is no outlier). None
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
    inner_low = lows[lows.searchsorted(bottom - reach)]
    inner_high = highs[highs.searchsorted(top + reach, side="right") - 1]
    return float(inner_low), float(inner_high)


def _finite_or_nan(value: object) -> float:
    found = number(value)
    return found if found is not None and math.isfinite(found) else math.nan


if __name__ == "__main__":
    store = SeriesStore()
    for at in range(1, 1001):
        store.append({"step": at, "time": 1e9 + at, "tokens": at * 64, "train/loss": 9.0 / at})
    store.append({"step": 1001, "train/loss": "NaN"})
    store.append({"step": 900, "train/loss": 0.5})
    loss = store.get("train/loss")
    assert loss is not None and loss.last_step == 900 and len(loss) == 900
    view = loss.bins(0, 1000, 5)
    print(view, loss.best("lower"))
    assert np.isnan(view.low[-1]) or view.low[-1] <= view.mean[-1] <= view.high[-1]
    print("=== 自测通过 ===")
