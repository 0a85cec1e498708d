"""What conditions remember of earlier rows: means, medians, lowest values, rows in succession.

Each takes the next number and gives a number, or takes the next numbers as an array and gives an
array: the same to the last bit, wherever a series is cut.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from functools import cached_property
from itertools import accumulate
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
    to the median of the stretch before, so that little cancels in the variance.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = 0
        self.mean = math.nan
        """NaN before the first number."""
        self.whole: list[float] = []
        """The last whole stretch."""
        self.begun: list[float] = []
        """The stretch after it, from one number on to a whole one."""
        self._centre = self._sum = self._squares = 0.0
        self._ends = self._square_ends = [0.0] * (size + 1)
        """Sums of the whole stretch from each position on."""

    def add(self, x: Column) -> Statistics:
        """Add numbers; the statistics with each of them."""
        if isinstance(x, np.ndarray):
            return self._add_many(x)
        if not -LARGEST <= x <= LARGEST:
            x = min(max(x, -LARGEST), LARGEST)
        if len(self.begun) == self.size:
            self._begin(self.begun, [])
        elif not self.count:
            self._centre = x
        self.begun.append(x)
        self._sum += x
        away = x - self._centre
        self._squares += away * away
        if self.count < self.size:
            self.count += 1
        self.mean = (self._ends[len(self.begun)] + self._sum) / self.count
        return self

    def before(self, x: Column) -> Statistics:
        """The statistics before each of some numbers, if all of these were added."""
        return _WindowColumns(self, x, included=0) if isinstance(x, np.ndarray) else self

    @property
    def deviation(self) -> float:
        """NaN before the first number."""
        if not self.count:
            return math.nan
        squares = self._square_ends[len(self.begun)] + self._squares
        shift = self.mean - self._centre
        return math.sqrt(max(squares / self.count - shift * shift, 0.0))

    def _add_many(self, x: Floats) -> Statistics:
        columns = _WindowColumns(self, x, included=1)
        total = len(self.begun) + len(x)
        last = self.begun + np.clip(x[-2 * self.size :], -LARGEST, LARGEST).tolist()
        if total > self.size:
            begun = (total - 1) % self.size + 1
            self._begin(last[-begun - self.size : -begun], last[-begun:])
        else:
            if not self.count:
                self._centre = last[0]
            self._set_begun(last)
        self.count = min(self.count + len(x), self.size)
        self.mean = float(columns.mean[-1])
        return columns

    def _begin(self, whole: list[float], begun: list[float]) -> None:
        self.whole = whole
        self._centre = sorted(whole)[self.size // 2]
        self._ends = _ends(whole)
        self._square_ends = _ends([(x - self._centre) * (x - self._centre) for x in whole])
        self._set_begun(begun)

    def _set_begun(self, begun: list[float]) -> None:
        self.begun = begun
        self._sum = _total(begun)
        self._squares = _total((x - self._centre) * (x - self._centre) for x in begun)


def _total(numbers: Iterable[float]) -> float:
    """Added one after the other, as numpy's `accumulate` does; Python's `sum` compensates."""
    total = 0.0
    for number in numbers:
        total += number
    return total


def _ends(stretch: list[float]) -> list[float]:
    return [*[*accumulate(reversed(stretch))][::-1], 0.0]


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
    def mean(self) -> Floats:
        with np.errstate(invalid="ignore"):  # 0 / 0 before the first number.
            mean: Floats = self._sums(self._square, self._square) / self.count
        return mean

    @cached_property
    def deviation(self) -> Floats:
        middle = self._square.shape[1] // 2
        medians = np.partition(self._square[:-1], middle, axis=1)[:, middle]
        centres = np.append(self._square[0, 0], medians)[:, None]
        starts = self._square - centres
        ends = self._square[:-1] - centres[1:]
        squares = self._sums(starts * starts, ends * ends)
        with np.errstate(invalid="ignore"):
            shift = self.mean - self._at_rows(np.repeat(centres, self._square.shape[1]))
            return np.sqrt(np.maximum(squares / self.count - shift * shift, 0.0))

    def _sums(self, starts: Floats, ends: Floats) -> Floats:
        """Of each window: the start of its last stretch and the end of the one before."""
        sums = np.add.accumulate(starts, axis=1)
        # The last row of `ends` has no stretch after it.
        from_each_on = np.add.accumulate(ends[: len(sums) - 1, ::-1], axis=1)[:, ::-1]
        sums[1:, :-1] += from_each_on[:, 1:]
        return self._at_rows(sums.ravel())

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


if __name__ == "__main__":
    numbers = np.random.default_rng(0).normal(3, 1, 20)
    one_by_one, at_once = Window(4), Window(4)
    means = [one_by_one.add(x).mean for x in numbers.tolist()]
    assert at_once.add(numbers).mean.tolist() == means
    print(Streak().add(numbers > 3), MedianWindow(3).add_below(numbers, 0.5)[0])
    print("=== 自测通过 ===")
