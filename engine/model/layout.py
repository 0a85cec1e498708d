"""What the host knows of a batch that it laid out, and a device would have to be asked for.

Where the labels are that count, and where one packed sequence ends and the next begins. Models and
losses that are given it never wait for a GPU. Dimensions in names: B rows, T positions in each, N
counted labels, S sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmm_tui.engine.transfer import Ints, to_device

IGNORE = -100
"""The label of a position that has nothing to predict."""


@dataclass(frozen=True)
class Counted:
    """Which positions have a label that counts."""

    rows_N: Tensor | None
    """Where they are in B * T, ascending, on the device; None for all positions."""
    ends: tuple[int, ...] = ()
    """How many there are up to the end of each row; empty for all positions."""

    @classmethod
    def of(cls, labels_BxT: Tensor) -> Counted:
        """Look for the labels that count on the device: the host waits for it."""
        return cls.where(labels_BxT != IGNORE)

    @classmethod
    def where(cls, chosen_BxT: Tensor) -> Counted:
        """Where a tensor of bools is true: the host waits for it."""
        rows_N = chosen_BxT.flatten().nonzero().squeeze(1)
        if len(rows_N) == chosen_BxT.numel():
            return ALL
        return cls(rows_N, tuple(chosen_BxT.sum(1).cumsum(0).tolist()))

    def part(self, first: int, last: int, width: int) -> Counted:
        """Of the rows from `first` up to `last`, which have `width` positions each."""
        if self.rows_N is None:
            return self
        before = self.ends[first - 1] if first else 0
        rows_N = self.rows_N[before : self.ends[last - 1]] - first * width
        return Counted(rows_N, tuple(end - before for end in self.ends[first:last]))


ALL = Counted(None)
"""Every position has a label that counts."""


def places_and_ends(chosen: NDArray[np.bool_]) -> tuple[NDArray[np.intp], tuple[int, ...]]:
    """Where an array (B, T) is true, in B * T, and how often up to the end of each row."""
    return np.flatnonzero(chosen), tuple(np.count_nonzero(chosen, axis=1).cumsum().tolist())


@dataclass(frozen=True)
class Segments:
    """Packed sequences, one after the other in each row; padding counts as one."""

    numbers_BxT: Tensor
    """Which sequence of its row each position belongs to: 1, 2, …; 0 at padding."""
    lengths: tuple[tuple[int, ...], ...]
    """Of the sequences of each row."""
    text: Counted
    """The positions that are not padding."""
    bounds: Tensor | None = None
    """Where the sequences of all rows begin, and the end, int32; on CUDA only. The end is repeated
    up to a power of two, so that few shapes occur."""

    @classmethod
    def of(cls, numbers_BxT: Tensor) -> Segments:
        """Read them back from numbers on a device: the host waits for it."""
        lengths = sequence_lengths(numbers_BxT.cpu().numpy())
        text = Counted.where(numbers_BxT > 0)
        return cls(numbers_BxT, lengths, text, bounds_of(lengths, numbers_BxT.device))

    @property
    def flat(self) -> list[int]:
        """The lengths of all sequences, row after row."""
        return [length for row in self.lengths for length in row]

    def part(self, first: int, last: int) -> Segments:
        """Of the rows from `first` up to `last`."""
        lengths, device = self.lengths[first:last], self.numbers_BxT.device
        text = self.text.part(first, last, self.numbers_BxT.shape[1])
        return Segments(self.numbers_BxT[first:last], lengths, text, bounds_of(lengths, device))


def sequence_lengths(numbers: Ints) -> tuple[tuple[int, ...], ...]:
    """The lengths of the sequences of each row, (B, T) numbers on the host."""
    first = np.ones(numbers.shape, np.bool_)
    first[:, 1:] = numbers[:, 1:] != numbers[:, :-1]
    starts = ([*np.flatnonzero(row).tolist(), numbers.shape[1]] for row in first)
    return tuple(tuple(end - start for start, end in pairwise(row)) for row in starts)


def bounds_of(lengths: Sequence[Sequence[int]], device: torch.device) -> Tensor | None:
    """`Segments.bounds` of sequences with these lengths."""
    if device.type != "cuda":
        return None
    ends = [0, *accumulate(length for row in lengths for length in row)]
    size = 1 << (len(ends) - 1).bit_length()
    return to_device(np.array(ends + ends[-1:] * (size - len(ends)), np.int32), device)


if __name__ == "__main__":
    demo = Segments.of(torch.tensor([[1, 1, 2, 2], [1, 1, 1, 0]]))
    print(demo.flat, demo.text, demo.part(1, 2).lengths)
    labels = torch.tensor([[IGNORE, 5, 6], [7, IGNORE, IGNORE]])
    print(Counted.of(labels), Counted.of(labels).part(1, 2, 3))
    assert demo.flat == [2, 2, 3, 1]
    print("=== 自测通过 ===")
