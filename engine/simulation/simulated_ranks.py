"""Ranks that are not there: one process as rank 0 of a group whose collectives send nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import _disable_current_modes

from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.parallel.ranks import Ranks
from lmm_tui.engine.parallel.spread import Spread
from lmm_tui.engine.simulation.storage_tracker import StorageTracker


@contextmanager
def fake_ranks(count: int) -> Iterator[Ranks]:
    """This process as rank 0 of `count` in the `with` block; of one rank there is no group."""
    if count == 1:
        yield Ranks()
        return
    from lmm_tui.engine.parallel import sharding

    dist.init_process_group("fake", rank=0, world_size=count, store=FakeStore())
    made = sharding.init_device_mesh

    def real_mesh(*arguments: Any, **named: Any) -> Any:
        # Which ranks are in it has to be read, also where all other tensors are fake.
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            return made(*arguments, **named)

    sharding.init_device_mesh = real_mesh
    try:
        yield Ranks(0, count)
    finally:
        sharding.init_device_mesh = made
        dist.destroy_process_group()


class SimulatedReplicas(Spread):
    """What `Replicated` does, whose DDP cannot be made of fake tensors: it keeps a copy of the
    gradients in buckets, and sums these over the ranks at the end of a step."""

    def __init__(self, model: LanguageModel, ranks: Ranks, tracker: StorageTracker) -> None:
        super().__init__(model)
        self.replicas = ranks.size
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        with tracker.during("gradient buckets"):
            self._buckets = torch.empty(trained)
        self._tracker = tracker

    @contextmanager
    def accumulating(self, is_last: bool) -> Iterator[None]:
        yield
        if is_last:
            self._tracker.phase = "temporary"
            dist.all_reduce(self._buckets)


if __name__ == "__main__":
    with fake_ranks(4) as ranks:
        print(ranks.rank, "of", dist.get_world_size())
        assert dist.get_world_size() == ranks.size == 4
    print("=== 自测通过 ===")
