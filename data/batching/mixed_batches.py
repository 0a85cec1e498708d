"""Micro-batches of a mixture: sequences of several sources, each in its own shuffled order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lmm_tui.data.batching.mixture import Mixture
from lmm_tui.data.errors import DataError

T = TypeVar("T", bound=tuple[Any, ...])
T_co = TypeVar("T_co", bound=tuple[Any, ...], covariant=True)


class MixturePart(Protocol[T_co]):
    """`Batches` or `PackedBatches`."""

    @property
    def blocks(self) -> int:
        """Sequences in an epoch."""

    def pick(self, places: NDArray[np.int64]) -> T_co:
        """The sequences at increasing places of the part's endless order."""

    def once(self, count: int) -> Iterator[T_co]:
        """At most `count` sequences, each once."""


class MixedBatches(Generic[T]):
    """A pure function of (seed, index), as the batches of one source are."""

    def __init__(self, parts: Sequence[MixturePart[T]], mixture: Mixture, batch_size: int) -> None:
        self._parts, self._mixture, self._batch_size = parts, mixture, batch_size

    @property
    def epoch(self) -> float:
        """Micro-batches in which there are as many sequences as all sources have."""
        return sum(part.blocks for part in self._parts) / self._batch_size

    def get(self, index: int) -> T:
        """Micro-batch `index`. Raises DataError where all sources have run dry before its end."""
        start, total = index * self._batch_size, self._mixture.total
        if total is not None and start + self._batch_size > total:
            raise DataError(
                "data.sources: all have run dry after {total} sequences; raise "
                "their epochs, or leave it out of one",
                total=total,
            )
        return self._gathered(*self._mixture.take(start, self._batch_size))

    def once(self, count: int) -> Iterator[T]:
        """The first sequences of each part, `count` together."""
        share = max(1, count // len(self._parts))
        return chain.from_iterable(part.once(share) for part in self._parts)

    def _gathered(self, sources: NDArray[np.int64], draws: NDArray[np.int64]) -> T:
        made: T | None = None
        for number in np.unique(sources):
            here = np.flatnonzero(sources == number)
            found = self._parts[number].pick(draws[here])
            if made is None:
                empty = [np.empty((len(sources), *one.shape[1:]), one.dtype) for one in found]
                make: Callable[[Any], T] = getattr(type(found), "_make", type(found))
                made = make(empty)
            for whole, part in zip(made, found, strict=True):
                whole[here] = part
        assert made is not None
        return made


if __name__ == "__main__":
    from lmm_tui.data.batching.batches import Batches
    from lmm_tui.data.tokenizing.token_store import TokenStore

    def numbers(first: int) -> Batches:
        ids = np.arange(first, first + 101, dtype=np.uint16)
        end = np.array([101])
        return Batches(TokenStore(ids, end, end, 101, ""), seq_len=10, batch_size=4, seed=0)

    mixed = MixedBatches([numbers(0), numbers(1000)], Mixture([3, 1], [None, None]), 4)
    shown = [mixed.get(at)[0][:, 0].tolist() for at in range(3)]
    print(shown)
    assert all(sum(first >= 1000 for first in batch) == 1 for batch in shown)
    print("=== 自测通过 ===")
