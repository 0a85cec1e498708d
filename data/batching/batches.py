"""Micro-batches of plain text: a pure function of (seed, index), so a run can resume at any step.

Text is cut into blocks of one length, which `Order` shuffles. No position is kept: the caller
passes the index.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lmm_tui.data.batching.order import Order, slices
from lmm_tui.data.errors import DataError
from lmm_tui.data.tokenizing.token_store import TokenStore

Ids = NDArray[np.integer[Any]]


class Blocks(NamedTuple):
    """A micro-batch of plain text: each row has the inputs and, one later, what to predict."""

    tokens: Ids
    """(B, T + 1), a copy in the type of the token store: 2 or 4 bytes each."""

    @property
    def ids(self) -> Ids:
        """(B, T)."""
        return self.tokens[:, :-1]

    @property
    def labels(self) -> Ids:
        """(B, T): labels[i, t] is the token after ids[i, t]."""
        return self.tokens[:, 1:]


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
        self._rows_of = sliding_window_view(store.ids, seq_len + 1)[::seq_len]

    @property
    def epoch(self) -> float:
        """Micro-batches per epoch."""
        return self.blocks / self._batch_size

    def get(self, index: int) -> Blocks:
        """Micro-batch `index` (any from 0 on), with `batch_size` rows."""
        return self._rows(self._order.take(index, self._batch_size))

    def pick(self, places: NDArray[np.int64]) -> Blocks:
        """The blocks at increasing places of the endless order."""
        return self._rows(self._order.at(places))

    def once(self, count: int) -> Iterator[Blocks]:
        """The first `count` blocks of the text, or all, each once; the last batch may be small."""
        return map(self._rows, slices(min(count, self.blocks), self._batch_size))

    def _rows(self, chosen: slice | NDArray[np.int64]) -> Blocks:
        return Blocks(self._rows_of[chosen].copy())


if __name__ == "__main__":
    numbers = np.arange(101, dtype=np.uint16)
    end = np.array([101])
    batches = Batches(TokenStore(numbers, end, end, 101, ""), seq_len=10, batch_size=4, seed=0)
    rows = batches.get(7)
    print(rows.ids[:, 0], rows.labels[:, 0], [len(part.tokens) for part in batches.once(9)])
    assert (rows.labels == rows.ids + 1).all()
    print("=== 自测通过 ===")
