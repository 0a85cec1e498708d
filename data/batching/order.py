"""In which order things come: endless epochs over them, a pure function of (seed, place).

An epoch's order is a stable sort of PCG64's raw stream, which numpy keeps the same from version to
version (NEP 19; it doesn't promise that of `permutation`). It knows nothing of what is ordered.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Order:
    """Epochs follow each other without a gap; each has every thing once. Threads may share it."""

    def __init__(self, count: int, seed: int | None) -> None:
        """Of `count` things, one or more; `seed` None keeps them as they are."""
        self._count = count
        self._seed = seed
        self._epochs: dict[int, NDArray[np.int64]] = {}

    def take(self, index: int, size: int) -> NDArray[np.int64]:
        """Which things are in batch `index` (from 0, without end) of `size`.

        A batch may hold the end of one epoch and the start of the next, or several of them where
        there are fewer things than `size`.
        """
        start = index * size
        epochs, places = np.divmod(np.arange(start, start + size), self._count)
        if self._seed is None:
            return places
        span = range(int(epochs[0]), int(epochs[-1]) + 1)
        return np.concatenate(
            [self._epoch(self._seed, epoch)[places[epochs == epoch]] for epoch in span]
        )

    def _epoch(self, seed: int, epoch: int) -> NDArray[np.int64]:
        order = self._epochs.get(epoch)
        if order is None:
            bits = np.random.PCG64(np.random.SeedSequence((seed, epoch)))
            order = np.argsort(bits.random_raw(self._count), kind="stable")
            # The epoch before is kept too: a batch across the border needs both.
            kept = {at: known for at, known in self._epochs.items() if at == epoch - 1}
            self._epochs = kept | {epoch: order}
        return order


if __name__ == "__main__":
    shuffled = Order(5, seed=0)
    print([shuffled.take(index, 3).tolist() for index in range(4)])
    assert sorted(shuffled.take(7, 5)) == [0, 1, 2, 3, 4]
    assert Order(5, None).take(1, 3).tolist() == [3, 4, 0]
    print("=== 自测通过 ===")
