"""Shuffled epochs over numbered items: a pure function of (seed, index).

The order of an epoch is a stable sort of PCG64's raw stream, which numpy keeps the same in all
versions (NEP 19; there is no such promise for `permutation`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


class Order:
    """Endless epochs without a gap between them; each has every item once. Thread-safe."""

    def __init__(self, count: int, seed: int | None) -> None:
        """`count` is at least one; `seed=None` does not shuffle."""
        self._count = count
        self._seed = seed
        self._epochs: dict[int, NDArray[np.int64]] = {}

    def take(self, index: int, size: int) -> NDArray[np.int64]:
        """The items in batch `index` (any from 0 on) of `size`.

        A batch may have the end of one epoch and the start of the next, or several epochs if there
        are fewer items than `size`.
        """
        start = index * size
        return self.at(np.arange(start, start + size))

    def at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The items at increasing places of the endless order; at least one."""
        epochs, items = np.divmod(places, self._count)
        if self._seed is None:
            return items
        span = range(int(epochs[0]), int(epochs[-1]) + 1)
        return np.concatenate(
            [self._epoch(self._seed, epoch)[items[epochs == epoch]] for epoch in span]
        )

    def _epoch(self, seed: int, epoch: int) -> NDArray[np.int64]:
        order = self._epochs.get(epoch)
        if order is None:
            bits = np.random.PCG64(np.random.SeedSequence((seed, epoch)))
            order = np.argsort(bits.random_raw(self._count), kind="stable")
            # Keep the previous epoch too: a batch across the boundary needs both.
            kept = {at: known for at, known in self._epochs.items() if at == epoch - 1}
            self._epochs = kept | {epoch: order}
        return order


def slices(count: int, size: int) -> Iterator[slice]:
    """`count` items once, in batches of `size`; the last one has what is left."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


if __name__ == "__main__":
    shuffled = Order(5, seed=0)
    print([shuffled.take(index, 3).tolist() for index in range(4)])
    assert sorted(shuffled.take(7, 5)) == [0, 1, 2, 3, 4]
    print("=== 自测通过 ===")
