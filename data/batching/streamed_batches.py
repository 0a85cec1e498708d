"""Micro-batches of a stream of tokens: in the order of the text, shuffled inside a window.

Which sequences a batch has is a pure function of (seed, index) and of the text, not of how far it
has been tokenised: a batch waits until its window is there. The first sequences are for validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lmm_tui.data.batching.batches import Blocks, Ids
from lmm_tui.data.errors import DataError

WINDOW = 1024
"""Sequences that are shuffled among each other."""
VALIDATION = 512
"""Sequences from the start of the text that are for validation, of a long text."""


class Tokens(Protocol):
    """`data.preparation.stream.TokenStream`."""

    total: int | None

    def wait(self, tokens: int) -> bool: ...

    def read(self, start: int, stop: int) -> Ids: ...


class StreamedBatches:
    """Batches of what follows the first `held_out` sequences; epochs follow each other."""

    def __init__(
        self, tokens: Tokens, seq_len: int, batch_size: int, seed: int, held_out: int
    ) -> None:
        self._tokens, self._seq_len, self._batch_size = tokens, seq_len, batch_size
        self._seed, self._first = seed, held_out * seq_len
        self._orders: dict[tuple[int, int, int], NDArray[np.int64]] = {}

    def get(self, index: int) -> Blocks:
        """Micro-batch `index` (any from 0 on); waits for its tokens."""
        start = index * self._batch_size
        rows = [self._row(place) for place in range(start, start + self._batch_size)]
        return Blocks(np.stack(rows))

    def _row(self, place: int) -> Ids:
        epoch = 0
        window, size = place // WINDOW, WINDOW
        if not self._tokens.wait(self._first + (window + 1) * WINDOW * self._seq_len + 1):
            blocks = self._blocks()
            epoch, place = divmod(place, blocks)
            window = place // WINDOW
            size = min(WINDOW, blocks - window * WINDOW)
        block = window * WINDOW + self._order(epoch, window, size)[place % WINDOW]
        start = self._first + int(block) * self._seq_len
        return self._tokens.read(start, start + self._seq_len + 1)

    def _blocks(self) -> int:
        """All sequences, once the text is at its end."""
        assert self._tokens.total is not None
        return (self._tokens.total - self._first - 1) // self._seq_len

    def _order(self, epoch: int, window: int, size: int) -> NDArray[np.int64]:
        key = (epoch, window, size)
        if key not in self._orders:
            bits = np.random.PCG64(np.random.SeedSequence((self._seed, epoch, window)))
            kept = dict(list(self._orders.items())[-1:])
            self._orders = kept | {key: np.argsort(bits.random_raw(size), kind="stable")}
        return self._orders[key]


class HeldOut:
    """The validation sequences, in order."""

    def __init__(self, tokens: Tokens, seq_len: int, batch_size: int) -> None:
        """Raises DataError where the text has not two sequences. Waits for the first of them."""
        self.blocks = VALIDATION
        if not tokens.wait(2 * VALIDATION * seq_len + 1):
            assert tokens.total is not None
            self.blocks = (tokens.total - 1) // seq_len // 2
        if not self.blocks:
            raise DataError(
                "data.source: the corpus is shorter than two sequences: it has "
                "{total} tokens, and needs {seq_len}; give more text or a "
                "smaller data.seq_len",
                total=tokens.total,
                seq_len=2 * seq_len + 1,
            )
        ids = tokens.read(0, self.blocks * seq_len + 1)
        self._rows_of = sliding_window_view(ids, seq_len + 1)[::seq_len]
        self._batch_size = batch_size

    @property
    def epoch(self) -> float:
        return self.blocks / self._batch_size

    def get(self, index: int) -> Blocks:
        start = index * self._batch_size % self.blocks
        return self._rows(start, min(start + self._batch_size, self.blocks))

    def once(self, count: int) -> Iterator[Blocks]:
        """At most `count` sequences, each once."""
        last = min(count, self.blocks)
        for start in range(0, last, self._batch_size):
            yield self._rows(start, min(start + self._batch_size, last))

    def _rows(self, first: int, last: int) -> Blocks:
        return Blocks(self._rows_of[first:last].copy())


if __name__ == "__main__":

    class Whole:
        total: int | None = 20_001

        def wait(self, tokens: int) -> bool:
            return tokens <= 20_001

        def read(self, start: int, stop: int) -> NDArray[np.int64]:
            return np.arange(start, stop)

    demo = StreamedBatches(Whole(), seq_len=10, batch_size=4, seed=0, held_out=100)
    rows = demo.get(3)
    print(rows.ids[:, 0], HeldOut(Whole(), 10, 4).blocks)
    assert (rows.labels == rows.ids + 1).all() and rows.ids.min() >= 1000
    print("=== 自测通过 ===")
