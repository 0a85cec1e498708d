"""Exchanges rows of matrices that FSDP2 has sharded, so that each rank gets some matrices whole.

Matrices of one shape are N in number; of each a rank holds the rows that `torch.chunk` gives it,
and M of them are its own to compute on. Both ways are one all-to-all, so every row travels once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class RowExchange:
    group: Any
    """Of torch.distributed: the ranks that the rows are spread over."""
    rank: int
    rows: tuple[int, ...]
    """Of each matrix, by rank."""
    owned: tuple[int, ...]
    """How many matrices each rank owns."""

    @classmethod
    def of(cls, parameter: Tensor, count: int) -> RowExchange | None:
        """For `count` matrices like a parameter; None where each rank has all of its rows."""
        placements = getattr(parameter, "placements", ())
        sharded = [at for at, placement in enumerate(placements) if placement.is_shard()]
        if not sharded:
            return None
        if len(sharded) > 1 or placements[sharded[0]].dim != 0:
            raise NotImplementedError(f"Muon for matrices that are spread as {placements}")
        mesh = parameter.device_mesh  # type: ignore[attr-defined]
        world, rank = mesh.size(sharded[0]), mesh.get_local_rank(sharded[0])
        rows = _chunked(parameter.shape[0], world)
        return cls(mesh.get_group(sharded[0]), rank, rows, _spread(count, world))

    def to_owners(self, local_NxRxB: Tensor) -> Tensor:
        """From R rows of all matrices to all rows of the M matrices of this rank, (M, A, B)."""
        width, mine = local_NxRxB.shape[2], self.owned[self.rank]
        sent = [count * self.rows[self.rank] * width for count in self.owned]
        got = [mine * rows * width for rows in self.rows]
        parts = self._exchange(local_NxRxB.flatten(), sent, got)
        shaped = [part.view(mine, rows, width) for part, rows in zip(parts, self.rows, strict=True)]
        return torch.cat(shaped, dim=1)

    def from_owners(self, whole_MxAxB: Tensor) -> Tensor:
        """The way back: R rows of all matrices, (N, R, B)."""
        width, here = whole_MxAxB.shape[2], self.rows[self.rank]
        by_rank = torch.cat([part.flatten() for part in whole_MxAxB.split(self.rows, dim=1)])
        sent = [len(whole_MxAxB) * rows * width for rows in self.rows]
        got = [count * here * width for count in self.owned]
        parts = self._exchange(by_rank, sent, got)
        shaped = [
            part.view(count, here, width) for part, count in zip(parts, self.owned, strict=True)
        ]
        return torch.cat(shaped)

    def _exchange(self, flat: Tensor, sent: list[int], got: list[int]) -> list[Tensor]:
        """Send `sent[r]` numbers to each rank r; what came from each."""
        received = flat.new_empty(sum(got))
        torch.distributed.all_to_all_single(received, flat, got, sent, group=self.group)
        return list(received.split(got))


def _chunked(rows: int, world: int) -> tuple[int, ...]:
    """The rows of each rank: as many as `torch.chunk` gives, which are none for the last ones of
    few rows."""
    size = -(-rows // world)
    return tuple(max(0, min(size, rows - rank * size)) for rank in range(world))


def _spread(count: int, world: int) -> tuple[int, ...]:
    """`count` matrices over ranks, evenly; the first ones own what is over."""
    return tuple(count // world + (rank < count % world) for rank in range(world))


if __name__ == "__main__":
    print(_chunked(10, 4), _chunked(2, 4), _spread(7, 3))
    assert RowExchange.of(torch.ones(2, 2), 1) is None and sum(_chunked(10, 4)) == 10
    print("=== 自测通过 ===")
