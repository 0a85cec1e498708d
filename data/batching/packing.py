"""Pack conversations into rows of one length: whole, isolated from each other, little padding.

A conversation of n tokens takes n - 1 positions, since each position predicts the next token; what
follows its last trained token is cut off. Tokens stay where they are, in memory or in a file, and a
batch is laid out when it is requested.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lmm_tui.data.batching.order import Order, slices
from lmm_tui.data.errors import DataError
from lmm_tui.data.tokenizing.learnt_tokens import LearntTokens, ids_of, labels_of

IGNORED = -100
"""The label of a position without a loss."""

_OPEN_ROWS = _WINDOW = 1024

Ints = NDArray[np.int64]


class Rows(NamedTuple):
    """A batch of packed rows; each array is an int64 copy, (rows, seq_len)."""

    ids: Ints
    """0 at padding."""
    labels: Ints
    """The token to predict at each position (already shifted), or IGNORED."""
    positions: Ints
    """From 0 in each conversation; 0 at padding."""
    segments: Ints
    """1, 2, … for the conversations of a row; 0 at padding."""


class Packed:
    """Conversations and the row of each."""

    def __init__(self, texts: LearntTokens, seq_len: int) -> None:
        """`texts` are the tokens of conversations, and whether each is trained on. See `pack`."""
        self.seq_len = seq_len
        self._texts = texts
        kept, cut = np.zeros(len(texts), np.bool_), np.zeros(len(texts), np.int32)
        self.learnt = self.truncated = 0
        """The number of labels in all rows, and of conversations that were cut to fit into one."""
        for block in texts.blocks():
            here = slice(block.first, block.first + len(block.ends))
            ends = block.learnt_ends(block.ends)
            cut[here] = block.learnt_ends(np.minimum(block.ends, block.starts + seq_len + 1))
            # No position predicts the first token of a conversation.
            kept[here] = cut[here] >= 2
            self.truncated += int((kept[here] & (ends > seq_len + 1)).sum())
            bounds = np.stack([block.starts + 1, block.starts + cut[here]])[:, kept[here]]
            labels = np.searchsorted(block.learnt_places, bounds)
            self.learnt += int((labels[1] - labels[0]).sum())
        self._kept, self._lengths = kept, cut[kept]
        self._starts: Ints = np.concatenate([[0], texts.ends[:-1]])[: len(texts)][kept]
        taken, self.rows = _first_fit(self._lengths - 1, seq_len)
        """The number of rows."""
        self._taken = taken
        # Conversations sorted by row: those of row r are _by_row[_row_starts[r]:_row_starts[r+1]].
        self._by_row = np.argsort(taken, kind="stable").astype(np.int32)
        self._row_starts = np.searchsorted(taken[self._by_row], np.arange(self.rows + 1))

    @property
    def row_of(self) -> Ints:
        """The row of each conversation in the given order; -1 if it was dropped."""
        found: Ints = np.full(len(self._kept), -1)
        found[self._kept] = self._taken
        return found

    @property
    def conversations(self) -> int:
        """The number of packed conversations."""
        return len(self._lengths)

    @property
    def dropped(self) -> int:
        """Conversations without a label, or without one that is left after the cut."""
        return len(self._kept) - self.conversations

    @property
    def fingerprint(self) -> str:
        """Equal for equal tokens and labels in the same order."""
        digest = hashlib.blake2b(digest_size=16)
        for marked in self._as_packed():
            digest.update(ids_of(marked).tobytes())
        for marked in self._as_packed():
            digest.update(labels_of(marked).tobytes())
        digest.update(self._lengths.astype(np.int64).tobytes())
        return digest.hexdigest()

    def _as_packed(self) -> Iterator[NDArray[np.unsignedinteger]]:
        """The tokens of all conversations, as far as they are packed."""
        done = 0
        for block in self._texts.blocks():
            starts = block.starts[self._kept[block.first : block.first + len(block.ends)]]
            lengths = self._lengths[done : done + len(starts)].astype(np.int64)
            done += len(starts)
            yield block.marked[np.repeat(starts, lengths) + _counted(lengths)]

    @property
    def fill(self) -> float:
        """The fraction of positions that are not padding."""
        places = self.rows * self.seq_len
        return float((self._lengths - 1).sum() / places) if places else 0.0

    def lay_out(self, rows: Ints) -> Rows:
        """These rows, in this order; conversations in a row keep the given order."""
        # First an entry for each conversation in these rows, then one for each of its positions,
        # with where to read it (`source`, in the flat tokens) and to write it (`target`, in the
        # flattened batch). So a batch is a few numpy calls, however many conversations it has.
        firsts, counts = self._row_starts[rows], self._row_starts[rows + 1] - self._row_starts[rows]
        place_in_row = _counted(counts)
        items = self._by_row[np.repeat(firsts, counts) + place_in_row]
        lengths = self._lengths[items].astype(np.int64) - 1
        before = np.cumsum(lengths) - lengths
        # `before` counts positions from the first row on; less what the rows before have.
        row_before = np.repeat(before[np.cumsum(counts) - counts], counts)
        offsets = np.repeat(np.arange(len(rows)), counts) * self.seq_len + before - row_before
        positions = _counted(lengths)
        source = np.repeat(self._starts[items], lengths) + positions
        target = np.repeat(offsets, lengths) + positions
        laid = Rows(*(np.zeros((len(rows), self.seq_len), np.int64) for _ in Rows._fields))
        laid.labels.fill(IGNORED)
        marked = self._texts.marked
        laid.ids.ravel()[target] = marked[source] >> 1
        following = marked[source + 1].astype(np.int64)
        laid.labels.ravel()[target] = np.where(following & 1, following >> 1, IGNORED)
        laid.positions.ravel()[target] = positions
        laid.segments.ravel()[target] = np.repeat(place_in_row + 1, lengths)
        return laid

    def items_of(self, rows: Ints, segments: Ints) -> Ints:
        """The packed conversation of each position of laid-out rows; -1 at padding.

        Conversations are numbered in the given order, without the dropped ones.
        """
        places = self._row_starts[rows][:, None] + segments - 1
        found: Ints = np.where(segments > 0, self._by_row[places], -1).astype(np.int64)
        return found


def pack(texts: LearntTokens, seq_len: int) -> Packed:
    """Put each conversation into the first row with room for it, the longest of a thousand first.

    One that is too long for a row is cut from the right. Raises DataError if none is left.
    """
    packed = Packed(texts, seq_len)
    if not packed.rows:
        raise DataError(
            "data.source: no conversation to learn from ({dropped} have no "
            "answer within {seq_len} tokens); give others or a larger "
            "data.seq_len",
            dropped=packed.dropped,
            seq_len=seq_len,
        )
    return packed


class PackedBatches:
    """Micro-batches of packed rows: every row once per epoch, epochs without a gap."""

    def __init__(self, packed: Packed, batch_size: int, seed: int | None) -> None:
        """`seed=None` keeps the order of the rows."""
        self._packed = packed
        self._batch_size = batch_size
        self._order = Order(packed.rows, seed)

    @property
    def epoch(self) -> float:
        """Micro-batches per epoch."""
        return self._packed.rows / self._batch_size

    @property
    def blocks(self) -> int:
        """Rows in an epoch."""
        return self._packed.rows

    def pick(self, places: Ints) -> Rows:
        """The rows at increasing places of the endless order."""
        return self._packed.lay_out(self._order.at(places))

    def once(self, count: int) -> Iterator[Rows]:
        """The first `count` rows, or all, each once; the last batch may be small."""
        every = np.arange(min(count, self._packed.rows))
        return (self._packed.lay_out(every[part]) for part in slices(len(every), self._batch_size))

    def get(self, index: int) -> Rows:
        """Micro-batch `index` (any from 0 on): a pure function of (seed, index)."""
        return self._packed.lay_out(self._order.take(index, self._batch_size))


def _first_fit(lengths: NDArray[np.int32], seq_len: int) -> tuple[NDArray[np.int32], int]:
    """The row for each length, and the number of rows.

    First fit, by decreasing length in windows of 1,024: sorting all conversations would make rows
    of equal lengths. At most 1,024 rows are open; when one more is needed, the fullest is closed.
    """
    rows = 0
    row_of = np.empty(len(lengths), np.int32)
    room, row = np.zeros(_OPEN_ROWS, np.int64), np.zeros(_OPEN_ROWS, np.int64)
    for start in range(0, len(lengths), _WINDOW):
        window = lengths[start : start + _WINDOW]
        for item in start + np.argsort(-window, kind="stable"):
            length = lengths[item]
            # The open row with the lowest number that has room, in one pass over all of them.
            at = np.where(room >= length, row, len(lengths)).argmin()
            if room[at] < length:
                at = room.argmin()
                room[at], row[at] = seq_len, rows
                rows += 1
            room[at] -= length
            row_of[item] = row[at]
    return row_of, rows


def _counted(counts: Ints) -> Ints:
    """The ranges 0 … count - 1 one after another: [2, 3] gives [0, 1, 0, 1, 2]."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


if __name__ == "__main__":
    demo = [([1, 5, 6, 2, 9], [False, False, True, True, False]), ([1, 7, 2], [False, True, True])]
    packed_demo = pack(LearntTokens.of(demo), seq_len=6)
    laid_out = PackedBatches(packed_demo, batch_size=1, seed=0).get(0)
    print(laid_out)
    assert laid_out.labels[0].tolist() == [IGNORED, 6, 2, 7, 2, IGNORED]
    print("=== 自测通过 ===")
