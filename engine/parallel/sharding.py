"""The model on several ranks by PyTorch's own means: DDP, FSDP2, and HSDP, which is both.

Annotations are evaluated here: DDP looks at those of its communication hook.
"""

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.parallel.ranks import Ranks
from lmm_tui.engine.parallel.spread import Spread, T, Work, divided_like


class Replicated(Spread):
    """Each rank has the whole model; gradients are summed while the last backward pass runs."""

    def __init__(self, model: LanguageModel, ranks: Ranks) -> None:
        super().__init__(model)
        self.replicas = ranks.size
        device = model.head_weight.device
        self._replica = DistributedDataParallel(
            model,
            device_ids=[device.index] if device.type == "cuda" else None,
            forward_sync_buffers=False,
            # Of a mixture of experts, some get no token.
            find_unused_parameters=model.shape.num_experts > 0,
        )
        self._replica.register_comm_hook(self, _sum)

    def __call__(self, work: Work[T]) -> T:
        found: T = self._replica(work)
        return found

    def accumulating(self, is_last: bool) -> AbstractContextManager[None]:
        return nullcontext() if is_last else self._replica.no_sync()


class Sharded(Spread):
    """Each rank of a group has a part of each parameter; groups are replicas of one another."""

    is_sharded = True

    def __init__(
        self, model: LanguageModel, ranks: Ranks, shard: str, gathered: torch.dtype | None = None
    ) -> None:
        """`shard`: all, or the ranks of a group, which divides them; `gathered`: the type of
        gathered parameters, where it is another than that of the weights."""
        super().__init__(model)
        # Its shell, with parameters that take no memory: what is wrapped around the layers of the
        # divided model may only be called by all ranks alike.
        self._empty = {name: _without_memory(p) for name, p in model.state_dict().items()}
        shells = {id(p): nn.Parameter(_without_memory(p), False) for p in model.parameters()}
        self._shell = copy.deepcopy(model, shells)
        mesh = _mesh(ranks.size, shard, model.head_weight.device.type)
        self.replicas = ranks.size // mesh.size(-1)
        # Sums stay fp32: of many ranks those of bf16 would lose what is small.
        policy = MixedPrecisionPolicy(gathered, torch.float32 if gathered else None)
        blocks = [model.get_submodule(name) for name in model.block_names]
        for module in (*blocks, model):
            fully_shard(module, mesh=mesh, mp_policy=policy)
        self._units = [module for module in model.modules() if isinstance(module, FSDPModule)]
        for unit in self._units:
            unit.set_gradient_divide_factor(1.0)
            # gloo has no sum with a factor, which a factor of 1 would otherwise become.
            unit.set_force_sum_reduction_for_comms(True)
        model.register_load_state_dict_pre_hook(_divide)
        model.register_forward_hook(_reshard_after_reading)

    def accumulating(self, is_last: bool) -> AbstractContextManager[None]:
        root = self._units[0]
        root.set_requires_gradient_sync(is_last)
        root.set_is_last_backward(is_last)
        return nullcontext()

    @contextmanager
    def whole(self) -> Iterator[LanguageModel]:
        found = {
            name: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            for name, tensor in self.model.state_dict().items()
        }
        self._shell.load_state_dict(found, assign=True)
        self._shell.requires_grad_(False).train(self.model.training)
        try:
            yield self._shell
        finally:
            self._shell.load_state_dict(self._empty, assign=True)


def _divide(model: LanguageModel, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Each rank takes its part of the whole tensors that are loaded."""
    for name, parameter in model.named_parameters(prefix.rstrip("."), remove_duplicate=False):
        if name in state:
            state[name] = divided_like(parameter, state[name])


def _without_memory(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, device="meta")


def _reshard_after_reading(model: nn.Module, *_: object) -> None:
    """The root keeps its parameters for a backward pass; without one they would grow old."""
    if not torch.is_grad_enabled():
        assert isinstance(model, FSDPModule)
        model.reshard()


def _sum(replicated: Replicated, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    if bucket.is_last():
        replicated.on_wait()
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    assert work is not None
    return work.get_future().then(lambda done: done.value()[0])


@cache  # Groups that are made twice in a process may meet one another.
def _mesh(size: int, shard: str, device_type: str) -> DeviceMesh:
    group = size if shard == "all" else int(shard)
    if group == size:
        return init_device_mesh(device_type, (group,))
    return init_device_mesh(
        device_type, (size // group, group), mesh_dim_names=("replicate", "shard")
    )


if __name__ == "__main__":
    print(Replicated.is_sharded, Sharded.is_sharded)
    print("=== 自测通过 ===")
