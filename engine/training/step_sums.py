"""What the ranks of a run have to know of one another in a step: one vector, summed once.

Loss and metrics of each rank's share, the squared gradient norms of what it has, and the signals:
whether rank 0 has something to decide, whether a rank was asked to stop, the time that rank 0
counts, and the steps that the run has at its pace. It is read with the other numbers of the step,
so nothing waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lmm_tui.engine.parallel.ranks import Ranks


@dataclass
class Signals:
    """What this rank tells the others with its next step, and what the last one said."""

    asks: bool = False
    """Of rank 0: there is something to decide together after this step."""
    stops: bool = False
    """This process was asked to stop, as by a signal."""
    spent_s: float = 0.0
    """Of rank 0: the time that the steps of the run took."""
    total_steps: int = 0
    """Of rank 0: the steps of a run of `train.minutes`, by which all set their learning rate."""

    def tensor(self, leads: bool) -> Tensor:
        """(4,), fp64; of the other ranks only `stops` counts."""
        of_all = (self.asks, self.spent_s, self.total_steps) if leads else (False, 0.0, 0)
        asks, spent_s, total_steps = of_all
        return torch.tensor([asks, self.stops, spent_s, total_steps], dtype=torch.float64)

    @classmethod
    def read(cls, asks: float, stops: float, spent_s: float, total_steps: float) -> Signals:
        """From the sums over all ranks."""
        return cls(asks > 0, stops > 0, spent_s, int(total_steps))


@dataclass(frozen=True)
class StepSums:
    """Over all ranks; tensors on the device, fp64."""

    loss: Tensor
    stats: dict[str, Tensor]
    signals: Tensor
    squares_L: Tensor


def sum_step(
    ranks: Ranks, loss: Tensor, stats: dict[str, Tensor], signals: Tensor, squares_L: Tensor
) -> StepSums:
    """Sum the shares of all ranks, which have the same names in `stats`."""
    numbers = torch.stack([loss, *stats.values()]).double()
    parts = [numbers, signals.to(numbers.device, non_blocking=True), squares_L]
    vector = ranks.sum_(torch.cat(parts))
    means, said, squares_L = vector.split([len(numbers), len(signals), len(squares_L)])
    loss_sum, *of_stage = means
    return StepSums(loss_sum, dict(zip(stats, of_stage, strict=True)), said, squares_L)


if __name__ == "__main__":
    said = Signals(asks=True, spent_s=3.5).tensor(leads=True)
    found = sum_step(Ranks(), torch.tensor(2.5), {"a": torch.tensor(1.0)}, said, torch.ones(2))
    print(found, Signals.read(*found.signals.tolist()))
    print("=== 自测通过 ===")
