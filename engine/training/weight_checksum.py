"""A checksum of replicated weights, which each rank says with its beats: they must be equal.

Ranks that differ go apart unnoticed, for their gradients are still summed: a fault of memory or of
a collective. The numbers are read at the next step, so nothing waits for a GPU.
"""

from __future__ import annotations

import zlib

import torch

from lmm_tui.engine.training.context import TrainContext
from lmm_tui.engine.training.schedules import Scheduled, fits
from lmm_tui.engine.transfer import LateNumbers

EVERY = 50
"""Steps; the sums cost about as much as reading all weights once."""


class WeightChecksum(Scheduled):
    """Of runs whose ranks have all weights; changes nothing."""

    def __init__(self, context: TrainContext) -> None:
        super().__init__(context)
        self._late: tuple[int, LateNumbers] | None = None

    def _is_due(self) -> bool:
        if self._late is not None:
            (step, sums), self._late = self._late, None
            beats = self._context.ranks.beats
            beats.checksum_step, beats.checksum = step, checksum(sums.read())
        ranks, spread = self._context.ranks, self._context.spread
        return not ranks.is_alone and not spread.is_sharded and fits(self._context.step, EVERY)

    @torch.no_grad()
    def act(self, due: bool) -> None:
        sums = [p.sum(dtype=torch.float64) for p in self._context.model.parameters()]
        self._late = self._context.step, LateNumbers(torch.stack(sums))


def checksum(numbers: list[float]) -> str:
    """Eight hexadecimal digits, equal for equal bits."""
    return f"{zlib.crc32(torch.tensor(numbers, dtype=torch.float64).numpy().tobytes()):08x}"


if __name__ == "__main__":
    print(checksum([1.0, 2.0]), checksum([1.0, 2.0 + 2**-50]))
    assert checksum([1.0]) != checksum([1.0 + 2**-52])
    print("=== 自测通过 ===")
