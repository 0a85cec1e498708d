"""Micro-batches cut into parts, so that a step that was too large for the memory fits after all.

The parts together are the same data with the same weight; only what is in memory at a time is less.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from engine.stages.base import MicroBatch
from lmm_errors import LmmError


class MemoryExhaustedError(LmmError):
    """A step that does not fit into the memory and cannot be made smaller."""


def cut(batches: Iterable[MicroBatch], parts: int) -> list[MicroBatch]:
    """Each micro-batch along its rows into `parts`, or into single rows where it has fewer.

    The weight of a part is not counted again: it is the share of its rows, rounded.
    """
    return [part for batch in batches for part in _cut(batch, parts)]


def more_parts(batches: Sequence[MicroBatch], parts: int, where: str) -> int:
    """Twice as many parts; MemoryExhaustedError, saying what would fit, where there are none."""
    if any(type(batch) is not MicroBatch for batch in batches):
        raise MemoryExhaustedError(
            f"train.batch_size: a micro-batch of this stage does not fit into the memory of "
            f"{where} and cannot be cut; halve train.batch_size and double train.grad_accum"
        )
    rows, width = max(batch.ids_BxT.shape for batch in batches)
    if parts >= rows:
        raise MemoryExhaustedError(
            f"data.seq_len: not even one sequence of {width} tokens fits into the memory of "
            f"{where}; take a smaller model, or data.seq_len {width // 2}"
        )
    return parts * 2


def _cut(batch: MicroBatch, parts: int) -> list[MicroBatch]:
    rows = batch.ids_BxT.shape[0]
    size = -(-rows // parts)
    if size == rows:
        return [batch]

    def piece(tensor: Tensor | None, first: int) -> Tensor | None:
        return None if tensor is None else tensor[first : first + size]

    return [
        replace(
            batch,
            ids_BxT=batch.ids_BxT[first : first + size],
            labels_BxT=batch.labels_BxT[first : first + size],
            positions_BxT=piece(batch.positions_BxT, first),
            segments_BxT=piece(batch.segments_BxT, first),
            weight=round(batch.weight * min(size, rows - first) / rows),
            tokens=round(batch.tokens * min(size, rows - first) / rows),
        )
        for first in range(0, rows, size)
    ]


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
