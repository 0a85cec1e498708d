"""Mean, standard deviation and median of the last n numbers of a series, as they arrive."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque

LARGEST = 1e150
"""Larger numbers are clamped to this, because their squares would overflow."""


class Recent:
    """Mean and standard deviation of the last `size` numbers, O(1) a number.

    The sums are of differences to a centre, so that little cancels in the variance, and are
    recomputed once per `size` numbers, so that rounding errors do not add up.
    """

    def __init__(self, size: int) -> None:
        self._kept: deque[float] = deque(maxlen=size)
        self._size = size
        self._sum = 0.0
        self._squares = 0.0
        self._centre = 0.0
        self._until_recomputed = size

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def full(self) -> bool:
        return len(self._kept) == self._size

    def add(self, x: float) -> None:
        """Add a finite number; drops the oldest of more than `size`."""
        if not -LARGEST <= x <= LARGEST:
            x = min(max(x, -LARGEST), LARGEST)
        kept = self._kept
        if not kept:
            self._centre = x
        away = x - self._centre
        if len(kept) == self._size:
            gone = kept[0] - self._centre
            self._sum -= gone
            self._squares -= gone * gone
        kept.append(x)
        self._sum += away
        self._squares += away * away
        self._until_recomputed -= 1
        if not self._until_recomputed:
            self._recompute()

    @property
    def mean(self) -> float:
        """NaN before the first number."""
        return self._centre + self._sum / len(self._kept) if self._kept else math.nan

    @property
    def deviation(self) -> float:
        """Population standard deviation (divided by n); NaN before the first number."""
        if not self._kept:
            return math.nan
        shift = self._sum / len(self._kept)
        return math.sqrt(max(self._squares / len(self._kept) - shift * shift, 0.0))

    def _recompute(self) -> None:
        self._centre = self.mean
        away = [x - self._centre for x in self._kept]
        self._sum, self._squares = sum(away), sum(x * x for x in away)
        self._until_recomputed = self._size


class RecentMedian:
    """Median of the last `size` numbers, from a sorted copy: O(size) a number, by memmove."""

    def __init__(self, size: int) -> None:
        self._kept: deque[float] = deque(maxlen=size)
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, x: float) -> None:
        """Add a finite number."""
        if len(self._kept) == self._kept.maxlen:
            del self._sorted[bisect_left(self._sorted, self._kept[0])]
        self._kept.append(x)
        insort(self._sorted, x)

    @property
    def median(self) -> float:
        """The upper one of two middle numbers; NaN before the first number."""
        return self._sorted[len(self._sorted) // 2] if self._sorted else math.nan


if __name__ == "__main__":
    recent, middle = Recent(4), RecentMedian(3)
    for number in (9.0, 1.0, 2.0, 3.0, 4.0):
        recent.add(number)
        middle.add(number)
    print(recent.mean, recent.deviation, middle.median)
    assert (recent.mean, middle.median) == (2.5, 3.0)
    print("=== 自测通过 ===")
