"""Work cut into parts, so that a step that was too large for the memory fits after all.

The parts together are the same data with the same weight; only what is in memory at a time is less.
How a micro-batch is cut is known to its own class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch

from lmm_tui.engine.device import is_out_of_memory
from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.errors import LmmError

T = TypeVar("T")


class MemoryExhaustedError(LmmError):
    """A step that does not fit into the memory and cannot be made smaller."""


def fit(attempt: Callable[[], T], make_room: Callable[[], None]) -> T:
    """What `attempt` returns, once it does: each time it runs out of memory, `make_room` first."""
    while True:
        try:
            return attempt()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Not in the handler: until it is left the error holds what fills the memory.
        make_room()


def cut(batches: Iterable[MicroBatch], parts: int) -> list[MicroBatch]:
    """Each micro-batch in `parts`, or in its units where it has fewer."""
    return [part for batch in batches for part in _cut(batch, parts)]


def more_parts(batches: Sequence[MicroBatch], parts: int, where: str) -> int:
    """Twice as many parts; MemoryExhaustedError, saying what would fit, where there are none."""
    if parts < max(batch.units for batch in batches):
        return parts * 2
    largest = max(cut(batches, parts), key=lambda part: part.ids_BxT.numel())
    raise MemoryExhaustedError(
        f"data.seq_len: not even one {largest.unit} of {largest.ids_BxT.numel()} tokens fits into "
        f"the memory of {where}; take a smaller model, or data.seq_len "
        f"{largest.ids_BxT.shape[1] // 2}"
    )


def _cut(batch: MicroBatch, parts: int) -> list[MicroBatch]:
    units = batch.units
    size = -(-units // parts)
    if size == units:
        return [batch]
    return [batch.part(first, min(first + size, units)) for first in range(0, units, size)]


if __name__ == "__main__":
    ids = torch.arange(12).view(3, 4)
    whole = MicroBatch(ids, ids, weight=12, tokens=12)
    count = more_parts([whole], 1, "the demo")
    pieces = cut([whole], count)
    print([piece.ids_BxT.tolist() for piece in pieces], [piece.weight for piece in pieces])
    assert torch.equal(torch.cat([piece.ids_BxT for piece in pieces]), ids)
    try:
        more_parts([whole], 4, "the demo")
    except MemoryExhaustedError as refusal:
        print(refusal)
    print("=== 自测通过 ===")
