"""Divides the micro-batches of a step among the ranks: each unit of it on exactly one of them.

All ranks know all micro-batches of a step, for these are a function of (seed, step). Each takes
as many pieces as the others, of the same number of units: the collectives of a sharded model stay
in step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.errors import LmmError

Batch = TypeVar("Batch", bound=MicroBatch)


class ShareError(LmmError):
    """A step whose rows cannot be divided among the ranks."""


def share(batches: Sequence[Batch], rank: int, size: int) -> list[Batch]:
    """The part of `rank` in the micro-batches of a step, of `size` ranks.

    Whole micro-batches where their number can be divided by `size`, else pieces as large as fit.
    Raises ShareError where the units cannot be divided.
    """
    if size == 1:
        return [*batches]
    units = sum(batch.units for batch in batches)
    if units % size:
        raise ShareError(
            "parallel.ranks: a step has {units} of what can be divided ({unit}), which {size} "
            "ranks cannot share evenly; change train.batch_size or train.grad_accum",
            units=units,
            unit=batches[0].unit,
            size=size,
        )
    own = units // size
    piece = math.gcd(own, *(batch.units for batch in batches))
    return [
        batch if batch.units == piece else batch.part(at, at + piece)
        for batch, at in _places(batches, piece)[rank * own // piece : (rank + 1) * own // piece]
    ]


def _places(batches: Sequence[Batch], piece: int) -> list[tuple[Batch, int]]:
    return [(batch, at) for batch in batches for at in range(0, batch.units, piece)]


def refuse_uneven(rows: int, size: int) -> None:
    """Raises ShareError where a step of `rows` rows cannot be divided among `size` ranks."""
    if rows % size == 0:
        return
    fitting = [count for count in range(1, rows + 1) if rows % count == 0]
    below = max(count for count in fitting if count < size)
    above = next((count for count in fitting if count > size), None)
    raise ShareError(
        "parallel.ranks: a step has {rows} rows (train.batch_size x train.grad_accum), which "
        "{size} ranks cannot share evenly; take {nearest} ranks, or other rows"
        if above is None
        else "parallel.ranks: a step has {rows} rows (train.batch_size x train.grad_accum), which "
        "{size} ranks cannot share evenly; take {nearest} or {above} ranks, or other rows",
        rows=rows,
        size=size,
        nearest=below,
        above=above,
    )


if __name__ == "__main__":
    import torch

    ids = torch.arange(24).view(4, 6)
    whole = [MicroBatch(ids + 100 * number, ids, 24, 24) for number in range(3)]
    for rank in range(4):
        print(rank, [part.ids_BxT[:, 0].tolist() for part in share(whole, rank, 4)])
    print("=== 自测通过 ===")
