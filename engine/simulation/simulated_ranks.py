"""Ranks that are not there: one process stands for all of a group whose collectives send nothing.

The model is spread over them as for training: its weights replicated, or sharded by layer (FSDP2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed._composable.replicate_with_fsdp import replicate
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.testing._internal.distributed.fake_pg import FakeStore

from lmm_tui.engine.model.language_model import LanguageModel


@contextmanager
def fake_ranks(count: int) -> Iterator[DeviceMesh | None]:
    """This process as rank 0 of `count` in the `with` block; of one rank there is no group."""
    if count == 1:
        yield None
        return
    dist.init_process_group("fake", rank=0, world_size=count, store=FakeStore())
    try:
        yield init_device_mesh("cpu", (count,))
    finally:
        dist.destroy_process_group()


def spread(model: LanguageModel, mesh: DeviceMesh, shard: str, dtype: torch.dtype) -> None:
    """Replicate or shard the weights; gathered ones are of `dtype`, gradients are summed in fp32.

    From here on `model(work)` runs `work(model)` with the weights that it needs.
    """
    policy = MixedPrecisionPolicy(
        param_dtype=None if dtype == torch.float32 else dtype, reduce_dtype=torch.float32
    )
    put: Any = fully_shard if shard == "all" else replicate
    modules = dict(model.named_modules())
    for name in model.block_names:
        put(modules[name], mesh=mesh, mp_policy=policy)
    put(model, mesh=mesh, mp_policy=policy)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)

    def forward(work: Callable[[LanguageModel], Any]) -> Any:
        return work(model)

    spread_model: Any = model
    spread_model.forward = forward


if __name__ == "__main__":
    with fake_ranks(4):
        print(dist.get_rank(), "of", dist.get_world_size())
        assert dist.get_world_size() == 4
    print("=== 自测通过 ===")
