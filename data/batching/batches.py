"""Which tokens a micro-batch holds: a pure function of (seed, index), so a run can go on anywhere.

Text is cut into blocks of one length; the order in which they come is `data.batching.order`'s. No
position is kept: the caller has the index.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lmm_tui.data.batching.order import Order
from lmm_tui.data.errors import DataError
from lmm_tui.data.tokenizing.token_store import TokenStore


class Batches:
    """Micro-batches of blocks: block b is tokens b·seq_len to (b+1)·seq_len, last one included.

    Each block gives `seq_len` inputs and, one token further, `seq_len` labels. Every block comes
    once an epoch; epochs follow each other without a gap, so that a batch may hold the end of one
    and the start of the next (or several, where there are fewer blocks than `batch_size`).
    """

    def __init__(self, store: TokenStore, seq_len: int, batch_size: int, seed: int | None) -> None:
        """`seed` None keeps the order of the text. DataError where no block fits."""
        self.blocks = (store.tokens - 1) // seq_len
        if self.blocks < 1:
            raise DataError(
                f"data.source: the corpus is shorter than one sequence: it has {store.tokens} "
                f"tokens, and needs {seq_len + 1}; give more text or a smaller data.seq_len"
            )
        self._batch_size = batch_size
        self._order = Order(self.blocks, seed)
        used = self.blocks * seq_len
        self._inputs = store.ids[:used].reshape(self.blocks, seq_len)
        self._labels = store.ids[1 : used + 1].reshape(self.blocks, seq_len)

    @property
    def epoch(self) -> float:
        """Micro-batches in an epoch."""
        return self.blocks / self._batch_size

    def __len__(self) -> int:
        """Full micro-batches in an epoch, at least one."""
        return max(1, self.blocks // self._batch_size)

    def get(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Micro-batch `index` (from 0, without end): ids and labels, (batch_size, seq_len) each.

        labels[i, t] is the token after ids[i, t]; both arrays are contiguous and the caller's own.
        """
        chosen = self._order.take(index, self._batch_size)
        return self._inputs[chosen].astype(np.int64), self._labels[chosen].astype(np.int64)


if __name__ == "__main__":
    numbers = np.arange(101, dtype=np.uint16)
    end = np.array([101])
    batches = Batches(TokenStore(numbers, end, end, 101, ""), seq_len=10, batch_size=4, seed=0)
    ids, labels = batches.get(7)
    print(len(batches), ids[:, 0], labels[:, 0])
    assert (labels == ids + 1).all()
    assert sorted(batches.get(i)[0][j, 0] for i in range(5) for j in range(4)) == sorted(
        2 * list(range(0, 100, 10))
    )
    print("=== 自测通过 ===")
