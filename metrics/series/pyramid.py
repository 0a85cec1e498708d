"""A min / max / sum pyramid over a growing array: summarising a range costs O(log length).

Level k has one entry for every complete block of 16**k values (level 0 is the values). A range is
read as the few values at its two ends that fill no block, plus entries of level 1, and these in
the same way from level 2, and so on. All ranges of a window are read together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lmm_tui.metrics.series.growing_array import Floats, Ints

_FAN = 16

_FEW = 4096
"""Up to so many values, reading each of them is faster than the pyramid."""


class Reduced(NamedTuple):
    """Smallest, largest and sum of the finite values in each range; inf, -inf, 0 if it has none."""

    low: Floats
    high: Floats
    total: Floats


class Pyramid:
    """Summaries of `values`, an array that the caller keeps and only extends at its end.

    When the array was cut, call `truncate` before the next `reduce`.
    """

    def __init__(self) -> None:
        self._size = 0
        """How many values are summarised."""
        self._offsets = [0, 0]
        """Where in each array of `_levels` the entries of level 1, 2, … start."""
        self._levels: tuple[Floats, ...] = (np.empty(0),) * 3
        """Lows, highs and sums, all levels one after another."""

    def truncate(self, size: int) -> None:
        """Drop the blocks that reach beyond the first `size` values."""
        self._size = min(size, self._size)

    def reduce(self, values: Floats, edges: Ints) -> Reduced:
        """Summaries of values[edges[i]:edges[i+1]] for all i; `edges` must not decrease.

        Exact, in time O(len(edges) * log(len(values))), plus amortised O(1) for each value added
        since the last call.
        """
        if edges[-1] - edges[0] <= _FEW:
            return _reduce_all(values, edges)
        self._grow(values)
        start, stop = edges[:-1], edges[1:]
        # Item k of `starts` and `stops` is a part of every range: two for each level climbed (its
        # left and its right end), and one at the top. Level 0 is `values`, hence the offset 0.
        starts: list[Ints] = []
        stops: list[Ints] = []
        for offset in (0, *self._offsets):
            if (stop - start).max(initial=0) <= 2 * _FAN:
                starts.append(start + offset)
                stops.append(stop + offset)
                break
            # Blocks first to last-1 lie inside the range; their entries are read one level up.
            first, last = -(-start // _FAN), stop // _FAN
            left_stop = np.minimum(first * _FAN, stop)
            starts += (start + offset, np.maximum(last * _FAN, left_stop) + offset)
            stops += (left_stop + offset, stop + offset)
            start, stop = first, np.maximum(last, first)
        # The parts at level 0 read one array, all others the three of the levels.
        values_read = min(len(starts), 2)
        parts = [_gather((values,), starts[:values_read], stops[:values_read])]
        if len(starts) > values_read:
            parts.append(_gather(self._levels, starts[values_read:], stops[values_read:]))
        low, high, total = parts[0]
        for part in parts[1:]:
            low, high = np.minimum(low, part.low), np.maximum(high, part.high)
            total = total + part.total
        return Reduced(low, high, total)

    def _reserve(self, capacity: int) -> None:
        """Allocate empty levels for `capacity` values."""
        sizes = []
        while capacity:
            capacity //= _FAN
            sizes.append(capacity)
        self._offsets = np.cumsum([0, *sizes[:-1]]).tolist()
        self._levels = tuple(np.empty(sum(sizes)) for _ in range(3))

    def _grow(self, values: Floats) -> None:
        """Summarise the values added since the last call."""
        if self._offsets[1] * _FAN < len(values):
            # Level 1 is full. Doubling keeps copying amortised O(1) a value.
            before, offsets = self._levels, self._offsets
            self._reserve(2 * len(values) // _FAN * _FAN + _FAN**2)
            count = self._size
            for old, new in zip(offsets, self._offsets, strict=False):
                count //= _FAN
                for source, target in zip(before, self._levels, strict=True):
                    target[new : new + count] = source[old : old + count]
        # `below`: what level k - 1 has for the blocks of level k that have become complete. It
        # starts and ends at whole blocks, so nothing summarised before is read again.
        below = _finite(values[self._size // _FAN * _FAN : len(values) // _FAN * _FAN])
        done, size = self._size, len(values)
        for offset in self._offsets:
            done, size = done // _FAN, size // _FAN
            if done == size:
                break
            for target, part, operation in zip(
                self._levels, below, (np.minimum, np.maximum, np.add), strict=True
            ):
                target[offset + done : offset + size] = _reduce_blocks(part, operation)
            fresh = slice(offset + done // _FAN * _FAN, offset + size // _FAN * _FAN)
            below = Reduced(*(level[fresh] for level in self._levels))
        self._size = len(values)


def _finite(values: Floats) -> Reduced:
    """`values` as lows, highs and sums to which the non-finite ones add nothing."""
    finite = np.isfinite(values)
    if finite.all():
        return Reduced(values, values, values)
    return Reduced(
        np.where(finite, values, np.inf),
        np.where(finite, values, -np.inf),
        np.where(finite, values, 0.0),
    )


def _reduce_blocks(values: Floats, operation: np.ufunc) -> Floats:
    """`operation` over each block of 16 values: (16 n,) to (n,)."""
    # Four halvings over strides are several times faster than reducing the rows of (n, 16).
    size = _FAN
    while size > 1:
        values = operation(values[0::2], values[1::2])
        size //= 2
    return values


def _reduce_all(values: Floats, edges: Ints) -> Reduced:
    """What `Pyramid.reduce` returns, by reading every value."""
    size = len(edges) - 1
    reduced = Reduced(np.full(size, np.inf), np.full(size, -np.inf), np.zeros(size))
    (full,) = (edges[1:] > edges[:-1]).nonzero()
    if len(full):
        # `reduceat` reduces from one start to the next. Ranges are adjacent, so without the empty
        # ones each ends where the next one starts.
        starts = edges[full] - edges[0]
        low, high, total = _finite(values[edges[0] : edges[-1]])
        reduced.low[full] = np.minimum.reduceat(low, starts)
        reduced.high[full] = np.maximum.reduceat(high, starts)
        reduced.total[full] = np.add.reduceat(total, starts)
    return reduced


def _gather(source: tuple[Floats, ...], starts: list[Ints], stops: list[Ints]) -> Reduced:
    """Range i is the union of starts[k][i] to stops[k][i] over all k; each of these is short.

    `source` is the values, or their lows, highs and sums.
    """
    # All parts in one indexing operation: `index` is (longest part, parts * ranges), a column for
    # each part, because numpy's cost here is by call and not by value.
    start, stop = np.concatenate(starts), np.concatenate(stops)
    empty = start >= stop
    width = max(int((stop - start).max(initial=0)), 1)
    index = start + np.arange(width)[:, None]
    inside = index < stop
    # Shorter parts repeat their last entry, which changes neither their lowest nor their highest
    # value; `inside` leaves the repetitions out of the sum. Empty parts read entry 0.
    np.minimum(index, np.where(empty, 0, stop - 1), out=index)
    if len(source[0]) == 0:  # All parts are empty.
        low = high = total = np.zeros(index.shape)
    elif len(source) == 1:
        low, high, total = _finite(source[0].take(index))
    else:
        low, high, total = (part.take(index) for part in source)
    shape = len(starts), len(starts[0])  # (parts, ranges)
    return Reduced(
        np.where(empty, np.inf, low.min(axis=0)).reshape(shape).min(axis=0),
        np.where(empty, -np.inf, high.max(axis=0)).reshape(shape).max(axis=0),
        (total * inside).sum(axis=0).reshape(shape).sum(axis=0),
    )


if __name__ == "__main__":
    series = np.sin(np.arange(100_000) / 3000.0)
    series[7] = np.nan
    print(Pyramid().reduce(series, np.array([0, 10, 10, 50_001, 100_000])))
    print("=== 自测通过 ===")
