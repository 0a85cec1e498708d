"""Tokens of many texts with a mark on what is learnt, in memory or mapped from a file.

A token and its mark are one number, `2 * id + learnt`, so that a `TokenStore` holds both. It knows
no conversations.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lmm_tui.data.tokenizing.token_store import HEADER_SIZE, TokenStore, TokenWriter
from lmm_tui.guarded_files import open_file

Marked = NDArray[np.unsignedinteger]
Ints = NDArray[np.int64]

_BLOCK = 1 << 21
"""Tokens read at once."""


class Block(NamedTuple):
    """Some texts that follow each other."""

    first: int
    """The number of the first."""
    marked: Marked
    """Their tokens."""
    ends: Ints
    """For each the index after its last token, in `marked`."""

    @property
    def starts(self) -> Ints:
        return np.concatenate([[0], self.ends[:-1]])

    def learnt_ends(self, limits: Ints) -> Ints:
        """For each text, how many of its tokens there are up to the last learnt one before its
        limit, an index into `marked`; 0 where none is."""
        places, starts = self.learnt_places, self.starts
        before = np.searchsorted(places, limits)
        last = np.concatenate([[-1], places])[before]
        return np.where(last >= starts, last + 1 - starts, 0)

    @property
    def learnt_places(self) -> Ints:
        """Where in `marked` tokens are learnt."""
        return np.flatnonzero(self.marked & 1)


class LearntTokens:
    """The tokens of texts in their order."""

    def __init__(self, marked: Marked, ends: Ints, path: Path | None = None, held: object = None):
        """`ends` has the index after the last token of each text.

        `path` is the file that `marked` is mapped from, `held` what keeps it where it is.
        """
        self.marked, self.ends = marked, ends
        self._path, self._held = path, held

    @classmethod
    def of(cls, texts: Iterable[tuple[Sequence[int], Sequence[bool]]]) -> LearntTokens:
        """In memory, 4 bytes a token, from (ids, learnt) of each text."""
        found = [mark(ids, learnt) for ids, learnt in texts]
        ends = np.cumsum([len(marked) for marked in found], dtype=np.int64)
        return cls(np.concatenate(found or [np.zeros(0, np.uint32)]), ends)

    @classmethod
    def open(cls, path: Path, fingerprint: str, lease: object) -> LearntTokens:
        """Mapped from what `marked_writer` has written; DataError as `TokenStore.open`."""
        store = TokenStore.open(path, fingerprint, lease)
        return cls(store.ids, store.document_ends, path, store)

    def __len__(self) -> int:
        """Texts."""
        return len(self.ends)

    def __getitem__(self, number: int) -> tuple[list[int], list[bool]]:
        """(ids, learnt) of one text."""
        start = int(self.ends[number - 1]) if number else 0
        return unmarked(self.marked[start : int(self.ends[number])])

    @property
    def lengths(self) -> Ints:
        return np.diff(self.ends, prepend=0)

    def blocks(self) -> Iterator[Block]:
        """All texts, some at a time; of a file they are read, so that no page stays mapped."""
        first = 0
        while first < len(self):
            start = int(self.ends[first - 1]) if first else 0
            last = max(first + 1, int(np.searchsorted(self.ends, start + _BLOCK, "right")))
            stop = int(self.ends[last - 1])
            yield Block(first, self._read(start, stop), self.ends[first:last] - start)
            first = last

    def learnt_counts(self) -> Ints:
        """How many tokens of each text are learnt."""
        counts = [
            np.diff(np.searchsorted(block.learnt_places, block.ends), prepend=0)
            for block in self.blocks()
        ]
        return np.concatenate(counts) if counts else np.zeros(0, np.int64)

    def _read(self, start: int, stop: int) -> Marked:
        if self._path is None:
            return self.marked[start:stop]
        kind = self.marked.dtype
        with open(open_file(self._path, inside=self._path.parents[1]), "rb") as file:  # noqa: PTH123
            file.seek(HEADER_SIZE + start * kind.itemsize)
            return np.frombuffer(file.read((stop - start) * kind.itemsize), kind)


def marked_vocabulary(vocab_size: int) -> int:
    """How many numbers there are for tokens with their marks: the vocabulary of a `TokenWriter`."""
    return 2 * vocab_size


def mark(ids: Sequence[int], learnt: Sequence[bool]) -> NDArray[np.uint32]:
    """One number for each token."""
    return np.array(ids, np.uint32) * 2 + np.array(learnt, np.uint32)


def ids_of(marked: Marked) -> NDArray[np.int32]:
    return (marked >> 1).astype(np.int32)


def labels_of(marked: Marked) -> NDArray[np.uint8]:
    """1 where a token is learnt."""
    return (marked & 1).astype(np.uint8)


def unmarked(marked: Marked) -> tuple[list[int], list[bool]]:
    """(ids, learnt)."""
    return (marked >> 1).tolist(), (marked & 1).astype(bool).tolist()


if __name__ == "__main__":
    told = [([5, 6, 7], [False, True, True]), ([], []), ([8, 9], [True, False])]
    with tempfile.TemporaryDirectory() as scratch:
        demo = Path(scratch, "tokens.bin")
        with TokenWriter(demo, marked_vocabulary(300), "f" * 32) as writer:
            for ids, learnt in told:
                writer.add(mark(ids, learnt), [len(ids)], [0])
            writer.finish()
        both = LearntTokens.open(demo, "f" * 32, None), LearntTokens.of(told)
        for kept in both:
            assert [kept[at] for at in range(len(kept))] == told
            assert kept.learnt_counts().tolist() == [2, 0, 1]
            (block,) = kept.blocks()
            print(block, block.learnt_ends(block.starts + 2))
    print("=== 自测通过 ===")
