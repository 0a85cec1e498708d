"""Micro-batches of plain text: a pure function of (seed, index), so a run can resume at any step.

Text is cut into blocks of one length, which `Order` shuffles. No position is kept: the caller
passes the index.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lmm_tui.data.batching.order import Order, slices
from lmm_tui.data.errors import DataError
from lmm_tui.data.tokenizing.token_store import TokenStore

IdsAndLabels = tuple[NDArray[np.int64], NDArray[np.int64]]


class Batches:
    """Micro-batches of blocks: block b is tokens b·seq_len to (b+1)·seq_len, last one included.

    Each block gives `seq_len` inputs and, shifted by one token, `seq_len` labels; it occurs
    once per epoch. Epochs follow each other without a gap: a batch may have the end of one and the
    start of the next (or several, if there are fewer blocks than `batch_size`).
    """

    def __init__(self, store: TokenStore, seq_len: int, batch_size: int, seed: int | None) -> None:
        """`seed=None` keeps the order of the text. Raises DataError if no block fits."""
        self.blocks = (store.tokens - 1) // seq_len
        if self.blocks < 1:
            raise DataError(
                "data.source: the corpus is shorter than one sequence: it has "
                "{tokens} tokens, and needs {seq_len}; give more text or a "
                "smaller data.seq_len",
                tokens=store.tokens,
                seq_len=seq_len + 1,
            )
        self._batch_size = batch_size
        self._order = Order(self.blocks, seed)
        # Views of the memory-mapped file: only the pages of a batch are ever read.
        used = self.blocks * seq_len
        self._inputs = store.ids[:used].reshape(self.blocks, seq_len)
        self._labels = store.ids[1 : used + 1].reshape(self.blocks, seq_len)

    @property
    def epoch(self) -> float:
        """Micro-batches per epoch."""
        return self.blocks / self._batch_size

    def get(self, index: int) -> IdsAndLabels:
        """Micro-batch `index` (any from 0 on): ids and labels, (batch_size, seq_len) each.

        labels[i, t] is the token after ids[i, t]; both are contiguous copies.
        """
        return self._rows(self._order.take(index, self._batch_size))

    def pick(self, places: NDArray[np.int64]) -> IdsAndLabels:
        """The blocks at increasing places of the endless order."""
        return self._rows(self._order.at(places))

    def once(self, count: int) -> Iterator[IdsAndLabels]:
        """The first `count` blocks of the text, or all, each once; the last batch may be small."""
        return map(self._rows, slices(min(count, self.blocks), self._batch_size))

    def _rows(self, chosen: slice | NDArray[np.int64]) -> IdsAndLabels:
        return self._inputs[chosen].astype(np.int64), self._labels[chosen].astype(np.int64)


if __name__ == "__main__":
    numbers = np.arange(101, dtype=np.uint16)
    end = np.array([101])
    batches = Batches(TokenStore(numbers, end, end, 101, ""), seq_len=10, batch_size=4, seed=0)
    ids, labels = batches.get(7)
    print(ids[:, 0], labels[:, 0], [len(rows) for rows, _ in batches.once(9)])
    assert (labels == ids + 1).all()
    print("=== 自测通过 ===")
