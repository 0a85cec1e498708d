"""A one-dimensional numpy array that grows at its end and can be cut there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]


def union(columns: Sequence[Ints]) -> Ints:
    """All numbers of one or more strictly ascending columns, ascending."""
    # Metrics are mostly measured at the same steps: a column inside the longest one needs no sort.
    longest = max(columns, key=len)
    others = [column for column in columns if not _within(column, longest)]
    return np.unique(np.concatenate([longest, *others])) if others else longest


def _within(column: Ints, longer: Ints) -> bool:
    """Whether all numbers of a column are in a longer one."""
    if column is longer or np.array_equal(column, longer):
        return True
    at = longer.searchsorted(column)
    return bool((at < len(longer)).all() and (longer[at] == column).all())


class GrowingArray:
    """An array with room at its end: appending is amortised O(1)."""

    __slots__ = ("_data", "_size")

    def __init__(self, dtype: DTypeLike) -> None:
        self._data = np.empty(16, dtype)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def view(self) -> NDArray[Any]:
        """The values; valid until the next change."""
        return self._data[: self._size]

    def extend(self, values: ArrayLike) -> None:
        added = np.asarray(values)
        size = self._size + len(added)
        if size > len(self._data):
            # The unused half costs no memory: the system gives a page when it is first written.
            grown = np.empty(max(size, 2 * len(self._data)), self._data.dtype)
            grown[: self._size] = self.view
            self._data = grown
        self._data[self._size : size] = added
        self._size = size

    def truncate(self, size: int) -> None:
        """Keep the first `size` values."""
        self._size = min(size, self._size)


if __name__ == "__main__":
    column = GrowingArray(np.int64)
    column.extend(range(100))
    column.truncate(42)
    print(column.view)
    print("=== 自测通过 ===")
