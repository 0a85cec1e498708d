"""A min / max / sum pyramid over a growing array: ranges of any length cost the same.

Level k holds one entry for every complete block of 16**k values. It knows positions in an
array, nothing of steps, metrics or screens.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lmm_tui.metrics.series.growing_array import Floats, Ints

_FAN = 16

_FEW = 4096
"""So many values are looked at one by one in the time that the pyramid takes for any number."""


class Reduced(NamedTuple):
    """Smallest, largest and summed finite value of each range; inf, -inf and 0 where none is."""

    low: Floats
    high: Floats
    total: Floats


class Pyramid:
    """Summaries of `values`, an array that the caller keeps and that only grows at its end.

    After the array was cut, `truncate` must be called before the next `reduce`.
    """

    def __init__(self) -> None:
        self._size = 0  # how many values are summarised
        self._offsets = [0, 0]
        self._levels: tuple[Floats, ...] = (np.empty(0),) * 3

    def truncate(self, size: int) -> None:
        """Forget the blocks that reach beyond the first `size` values."""
        self._size = min(size, self._size)

    def reduce(self, values: Floats, edges: Ints) -> Reduced:
        """Summaries of values[edges[i]:edges[i+1]] for all i; `edges` must not decrease.

        Exact in time O(len(edges) * log(len(values))), once new values are summarised (amortised
        O(1) a value).
        """
        if edges[-1] - edges[0] <= _FEW:
            return _reduce_all(values, edges)
        self._grow(values)
        start, stop = edges[:-1], edges[1:]
        starts: list[Ints] = []
        stops: list[Ints] = []
        for offset in (0, *self._offsets):
            if (stop - start).max(initial=0) <= 2 * _FAN:
                starts.append(start + offset)
                stops.append(stop + offset)
                break
            # Ends that do not fill a block are read at this level, the rest one level up.
            first, last = -(-start // _FAN), stop // _FAN
            left_stop = np.minimum(first * _FAN, stop)
            starts += (start + offset, np.maximum(last * _FAN, left_stop) + offset)
            stops += (left_stop + offset, stop + offset)
            start, stop = first, np.maximum(last, first)
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
        """Lay out room for `capacity` values: all levels one after another, level 1 first."""
        sizes = []
        while capacity:
            capacity //= _FAN
            sizes.append(capacity)
        self._offsets = np.cumsum([0, *sizes[:-1]]).tolist()
        self._levels = tuple(np.empty(sum(sizes)) for _ in range(3))

    def _grow(self, values: Floats) -> None:
        if self._offsets[1] * _FAN < len(values):
            before, offsets = self._levels, self._offsets
            self._reserve(2 * len(values) // _FAN * _FAN + _FAN**2)
            count = self._size
            for old, new in zip(offsets, self._offsets, strict=False):
                count //= _FAN
                for source, target in zip(before, self._levels, strict=True):
                    target[new : new + count] = source[old : old + count]
        below = _finite(values[self._size // _FAN * _FAN : len(values) // _FAN * _FAN])
        done, size = self._size, len(values)
        for offset in self._offsets:
            done, size = done // _FAN, size // _FAN
            if done == size:
                break
            for target, part, operation in zip(
                self._levels, below, (np.minimum, np.maximum, np.add), strict=True
            ):
                target[offset + done : offset + size] = _halve(part, operation)
            fresh = slice(offset + done // _FAN * _FAN, offset + size // _FAN * _FAN)
            below = Reduced(*(level[fresh] for level in self._levels))
        self._size = len(values)


def _finite(values: Floats) -> Reduced:
    """`values` as lows, highs and sums, in which non-finite ones do not count."""
    finite = np.isfinite(values)
    if finite.all():
        return Reduced(values, values, values)
    return Reduced(
        np.where(finite, values, np.inf),
        np.where(finite, values, -np.inf),
        np.where(finite, values, 0.0),
    )


def _halve(values: Floats, operation: np.ufunc) -> Floats:
    # Four halvings over strides are several times faster than reducing rows of 16.
    size = _FAN
    while size > 1:
        values = operation(values[0::2], values[1::2])
        size //= 2
    return values


def _reduce_all(values: Floats, edges: Ints) -> Reduced:
    """The same by looking at every value."""
    size = len(edges) - 1
    reduced = Reduced(np.full(size, np.inf), np.full(size, -np.inf), np.zeros(size))
    (full,) = (edges[1:] > edges[:-1]).nonzero()
    if len(full):
        # Between ranges that have values there are none, so each lasts until the next one.
        starts = edges[full] - edges[0]
        low, high, total = _finite(values[edges[0] : edges[-1]])
        reduced.low[full] = np.minimum.reduceat(low, starts)
        reduced.high[full] = np.maximum.reduceat(high, starts)
        reduced.total[full] = np.add.reduceat(total, starts)
    return reduced


def _gather(source: tuple[Floats, ...], starts: list[Ints], stops: list[Ints]) -> Reduced:
    """Summaries of the union of short ranges, item by item, all in one indexing operation.

    `source` is values, or their lows, highs and sums.
    """
    start, stop = np.concatenate(starts), np.concatenate(stops)
    empty = start >= stop
    width = max(int((stop - start).max(initial=0)), 1)
    index = start + np.arange(width)[:, None]
    inside = index < stop
    # Repeating the last entry of a range changes neither its lowest nor its highest value.
    np.minimum(index, np.where(empty, 0, stop - 1), out=index)
    if len(source[0]) == 0:
        low = high = total = np.zeros(index.shape)
    elif len(source) == 1:
        low, high, total = _finite(source[0].take(index))
    else:
        low, high, total = (part.take(index) for part in source)
    shape = len(starts), len(starts[0])
    return Reduced(
        np.where(empty, np.inf, low.min(axis=0)).reshape(shape).min(axis=0),
        np.where(empty, -np.inf, high.max(axis=0)).reshape(shape).max(axis=0),
        (total * inside).sum(axis=0).reshape(shape).sum(axis=0),
    )


if __name__ == "__main__":
    pyramid = Pyramid()
    series = np.sin(np.arange(100_000) / 3000.0)
    series[[7, 70_000]] = np.nan, np.inf
    summary = pyramid.reduce(series, np.array([0, 10, 10, 50_001, 100_000]))
    print(summary)
    assert summary.low[1] == np.inf and summary.high[3] == np.nanmax(series[50_001:70_000])
    print("=== 自测通过 ===")
