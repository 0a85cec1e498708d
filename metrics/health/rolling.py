"""What conditions remember of earlier rows: means, medians, lowest values, rows in succession.

Each takes the next number and gives a number, or takes the next numbers as an array and gives an
array: the same to the last bit, wherever a series is cut.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lmm_tui.metrics.series.growing_array import Floats

Column: TypeAlias = Any
"""The numbers of a metric: a float of one row, or an array of a block of rows."""
Mask: TypeAlias = Any
"""Whether something holds: a bool of one row, or an array of a block."""

LARGEST = 1e150
"""Larger numbers are clamped to this, because their squares would overflow."""


class Statistics(Protocol):
    """Of the numbers in a window: at one row, or at each row of a block."""

    @property
    def count(self) -> Any: ...
    @property
    def mean(self) -> Any: ...
    @property
    def deviation(self) -> Any: ...


class Window:
    """Mean and population standard deviation of the last `size` finite numbers.

    Numbers are cut into stretches of `size`, counted from the first. A window is the end of a whole
    stretch and the start of the next: two sums that are only ever added to, so no rounding errors
    pile up and a huge number affects only the windows that hold it. Squares are of the differences
    to the mean of either part, added number by number (Welford 1962) and joined by the distance of
    the two means (Chan, Golub and LeVeque 1979): nothing cancels in the variance.
    """

    __slots__ = ("_ends", "_sum", "begun", "count", "mean", "size", "whole")

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = 0
        self.mean = math.nan
        """NaN before the first number."""
        self.whole: list[float] = []
        """The last whole stretch."""
        self.begun: list[float] = []
        """The stretch after it, from one number on to a whole one."""
        self._sum = 0.0
        self._ends = [0.0] * (size + 1)
        """Sums of the whole stretch from each position on."""

    def add(self, x: Column) -> Statistics:
        """Add numbers; the statistics with each of them."""
        if isinstance(x, np.ndarray):
            return self._add_many(x)
        if not -LARGEST <= x <= LARGEST:
            x = min(max(x, -LARGEST), LARGEST)
        begun, count = self.begun, self.count
        if len(begun) == self.size:
            self._begin(begun, [])
            begun = self.begun
        begun.append(x)
        total = self._sum = self._sum + x
        if count < self.size:
            count = self.count = count + 1
        self.mean = (self._ends[len(begun)] + total) / count
        return self

    def before(self, x: Column) -> Statistics:
        """The statistics before each of some numbers, if all of these were added."""
        return _WindowColumns(self, x, included=0) if isinstance(x, np.ndarray) else self

    @property
    def deviation(self) -> float:
        """NaN before the first number. Computed where it is asked for, which is seldom."""
        if not self.count:
            return math.nan
        begun = len(self.begun)
        ended = self.count - begun
        apart = self._sum / max(begun, 1) - self._ends[begun] / max(ended, 1)
        squares = _sum_of_squares(self.whole[begun:][::-1]) + _sum_of_squares(self.begun)
        squares += apart * apart * (begun * ended / self.count)
        return math.sqrt(max(squares / self.count, 0.0))

    def _add_many(self, x: Floats) -> Statistics:
        columns = _WindowColumns(self, x, included=1)
        total = len(self.begun) + len(x)
        last = self.begun + np.clip(x[-2 * self.size :], -LARGEST, LARGEST).tolist()
        if total > self.size:
            begun = (total - 1) % self.size + 1
            self._begin(last[-begun - self.size : -begun], last[-begun:])
        else:
            self._set_begun(last)
        self.count = min(self.count + len(x), self.size)
        self.mean = float(columns.mean[-1])
        return columns

    def _begin(self, whole: list[float], begun: list[float]) -> None:
        self.whole = whole
        self._ends = [*_sums(np.array(whole)[::-1])[::-1].tolist(), 0.0]
        self._set_begun(begun)

    def _set_begun(self, begun: list[float]) -> None:
        self.begun = begun
        self._sum = float(_sums(np.array(begun))[-1]) if begun else 0.0


def _sums(x: Floats) -> Floats:
    """Of the numbers up to each, along the last axis."""
    sums: Floats = np.add.accumulate(x, axis=-1)
    return sums


def _squares(x: Floats, sums: Floats) -> Floats:
    """Of the differences of the numbers up to each to their mean, along the last axis."""
    means = sums / np.arange(1, x.shape[-1] + 1)
    squares: Floats = x - means
    squares[..., 1:] *= x[..., 1:] - means[..., :-1]
    return np.add.accumulate(squares, axis=-1, out=squares)


def _sum_of_squares(numbers: list[float]) -> float:
    x = np.array(numbers)
    return float(_squares(x, _sums(x))[-1]) if numbers else 0.0


class _WindowColumns:
    """The statistics of a window at each of some numbers: `Window`, a stretch a row of a square."""

    def __init__(self, window: Window, x: Floats, included: int) -> None:
        """`included` is 1 with each number, 0 before it."""
        earlier = window.whole + window.begun
        numbers = np.concatenate([earlier, x])
        stretches = -(-len(numbers) // window.size)
        self._square = np.zeros((stretches, window.size))
        self._square.ravel()[: len(numbers)] = np.clip(numbers, -LARGEST, LARGEST)
        self._first = len(earlier) + included - 1
        self._x = x
        self.count = np.minimum(window.count + included + np.arange(len(x)), window.size)

    @cached_property
    def _start_sums(self) -> Floats:
        return _sums(self._square)

    @cached_property
    def _end_sums(self) -> Floats:
        return _sums(self._square[:-1, ::-1])

    @cached_property
    def mean(self) -> Floats:
        sums = self._start_sums.copy()
        sums[1:, :-1] += self._end_sums[:, -2::-1]
        with np.errstate(invalid="ignore"):  # 0 / 0 before the first number.
            mean: Floats = self._at_rows(sums.ravel()) / self.count
        return mean

    @cached_property
    def deviation(self) -> Floats:
        size = self._square.shape[1]
        begun = np.arange(1, size)
        squares = _squares(self._square, self._start_sums)
        squares[1:, :-1] += _squares(self._square[:-1, ::-1], self._end_sums)[:, -2::-1]
        apart = self._start_sums[1:, :-1] / begun
        apart -= self._end_sums[:, -2::-1] / (size - begun)
        apart *= apart
        apart *= begun * (size - begun) / size
        squares[1:, :-1] += apart
        with np.errstate(invalid="ignore"):
            return np.sqrt(np.maximum(self._at_rows(squares.ravel()) / self.count, 0.0))

    def _at_rows(self, flat: Floats) -> Floats:
        if self._first < 0:
            return np.append(0.0, flat[: len(self._x) - 1])
        return flat[self._first : self._first + len(self._x)]


class Windows(dict[tuple[str, int], Window]):
    """Of each metric and size, which conditions share."""

    def __missing__(self, key: tuple[str, int]) -> Window:
        window = self[key] = Window(key[1])
        return window


class MedianWindow:
    """Median of the last `size` finite numbers: the upper one of two in the middle."""

    def __init__(self, size: int) -> None:
        self._kept: deque[float] = deque(maxlen=size)
        self._sorted: list[float] = []
        self._size = size

    def count_before(self, x: Column) -> Any:
        """How many numbers are in the window before each of some that are then added."""
        if not isinstance(x, np.ndarray):
            return len(self._kept)
        return np.minimum(len(self._kept) + np.arange(len(x)), self._size)

    @property
    def median(self) -> float:
        """NaN before the first number."""
        return self._sorted[len(self._sorted) // 2] if self._sorted else math.nan

    def add_below(self, x: Column, share: float) -> tuple[Mask, Column]:
        """Add numbers: is each below a share of the median before it, and that median if so."""
        if isinstance(x, np.ndarray):
            return self._add_many_below(x, share)
        median = self.median
        if len(self._kept) == self._size:
            del self._sorted[bisect_left(self._sorted, self._kept[0])]
        self._kept.append(x)
        insort(self._sorted, x)
        return x < share * median, median

    def _add_many_below(self, x: Floats, share: float) -> tuple[Mask, Column]:
        below, medians = np.zeros(len(x), bool), np.full(len(x), math.nan)
        filling = min(self._size - len(self._kept), len(x))
        for at, number in enumerate(x[:filling].tolist()):
            below[at], medians[at] = self.add_below(number, share)
        rest = x[filling:]
        if not len(rest):
            return below, medians
        numbers = np.concatenate([self._kept, rest])
        windows = sliding_window_view(numbers, self._size)[:-1]
        # A median lies between the extremes: those of two stretches that hold the window are
        # cheap, and few numbers are below what they allow.
        starts = np.arange(0, len(numbers), self._size)
        extremes = np.array([f.reduceat(numbers, starts) for f in (np.minimum, np.maximum)])
        allowed = (share * extremes).max(0)
        allowed = np.maximum(allowed, np.append(allowed[1:], -math.inf))
        near = np.flatnonzero(rest < np.repeat(allowed, self._size)[: len(rest)])
        middle = self._size // 2
        medians[filling + near] = np.partition(windows[near], middle, axis=1)[:, middle]
        below[filling + near] = rest[near] < share * medians[filling + near]
        self._kept.extend(rest[-self._size :].tolist())
        self._sorted = sorted(self._kept)
        return below, medians


class Lowest:
    """The lowest number so far."""

    def __init__(self) -> None:
        self.lowest = math.inf

    def add(self, x: Column) -> Any:
        """Add numbers; the lowest with each of them. NaN is passed over."""
        if not isinstance(x, np.ndarray):
            self.lowest = min(self.lowest, x)
            return self.lowest
        lowest = np.fmin(np.fmin.accumulate(x), self.lowest)
        self.lowest = float(lowest[-1])
        return lowest


class Streak:
    """In how many rows in succession something has held."""

    def __init__(self) -> None:
        self.length = 0
        self._first = 0

    def add(self, held: Mask) -> Any:
        """Add rows; the length with each of them."""
        if not isinstance(held, np.ndarray):
            self.length = self.length + 1 if held else 0
            return self.length
        rows = np.arange(1, len(held) + 1)
        broken = np.maximum.accumulate(np.where(held, 0, rows))
        lengths = rows - np.where(broken > 0, broken, -self.length)
        self.length = int(lengths[-1])
        return lengths

    def first_steps(self, steps: Any, lengths: Any) -> Any:
        """The step at which each succession began, of the rows that were added last."""
        if not isinstance(steps, np.ndarray):
            self._first = steps if lengths <= 1 else self._first
            return self._first
        rows = np.arange(len(steps)) - lengths + 1
        began = np.where(rows >= 0, steps[np.clip(rows, 0, len(steps) - 1)], self._first)
        self._first = int(began[-1])
        return began


class WindowStart:
    """The step of the first of the last `size` rows."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._steps: deque[int] = deque(maxlen=size)

    def add(self, steps: Any) -> Any:
        """Add rows; the step at which the window that ends with each of them begins."""
        if not isinstance(steps, np.ndarray):
            self._steps.append(steps)
            return self._steps[0]
        ends = np.arange(len(self._steps), len(self._steps) + len(steps))
        together = np.concatenate([np.array(self._steps, steps.dtype), steps])
        self._steps.extend(steps[-self._size :].tolist())
        return together[np.maximum(ends + 1 - self._size, 0)]


if __name__ == "__main__":
    numbers = np.random.default_rng(0).normal(3, 1, 20)
    one_by_one, at_once = Window(4), Window(4)
    means = [one_by_one.add(x).mean for x in numbers.tolist()]
    assert at_once.add(numbers).mean.tolist() == means
    print(Streak().add(numbers > 3), MedianWindow(3).add_below(numbers, 0.5)[0])
    print("=== 自测通过 ===")
