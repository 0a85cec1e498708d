"""Splits micro-batches into parts, so that a step that ran out of memory fits.

The parts together are the same data with the same weight; only less of it is in memory at a time.
How a micro-batch is divided is known to its class (`MicroBatch.part`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch

from lmm_tui.engine.device import is_out_of_memory
from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.errors import LmmError

T = TypeVar("T")
Batch = TypeVar("Batch", bound=MicroBatch)


class MemoryExhaustedError(LmmError):
    """A step that does not fit into the memory and cannot be split further."""


def with_oom_retry(attempt: Callable[[], T], make_room: Callable[[], None]) -> T:
    """Call `attempt` until it does not run out of memory, and `make_room` before each retry."""
    while True:
        try:
            return attempt()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Outside of the handler: inside, the error still refers to what fills the memory.
        make_room()


def split(batches: Iterable[Batch], parts: int) -> list[Batch]:
    """Each micro-batch in `parts` parts, or in its units where it has fewer."""
    return [part for batch in batches for part in _split_one(batch, parts)]


def next_split(batches: Sequence[MicroBatch], parts: int, where: str) -> int:
    """Twice as many parts; MemoryExhaustedError where nothing can be split any more.

    `where` names the memory, for the error.
    """
    if parts < max(batch.units for batch in batches):
        return parts * 2
    largest = max(split(batches, parts), key=lambda part: part.ids_BxT.numel())
    raise MemoryExhaustedError(
        "data.seq_len: not even one {unit} of {numel} tokens fits into the "
        "memory of {where}; take a smaller model, or data.seq_len {shape}",
        unit=largest.unit,
        numel=largest.ids_BxT.numel(),
        where=where,
        shape=largest.ids_BxT.shape[1] // 2,
    )


def _split_one(batch: Batch, parts: int) -> list[Batch]:
    units = batch.units
    size = -(-units // parts)
    if size == units:
        return [batch]
    return [batch.part(first, min(first + size, units)) for first in range(0, units, size)]


if __name__ == "__main__":
    ids = torch.arange(12).view(3, 4)
    whole = MicroBatch(ids, ids, weight=12, tokens=12)
    pieces = split([whole], next_split([whole], 1, "the demo"))
    print([piece.ids_BxT.tolist() for piece in pieces])
    assert torch.equal(torch.cat([piece.ids_BxT for piece in pieces]), ids)
    print("=== 自测通过 ===")
