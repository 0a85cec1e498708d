"""Muon that steps all matrices of one shape at once, on one rank or sharded over many by FSDP2.

torch's own walks over the matrices one by one: some 25 small kernels each, under FSDP2 some 15
collectives each. Here a bucket is one batched product, and sharded it costs two collectives: each
rank owns some of its matrices, gets their rows, orthogonalises them and sends the rows back.
Arguments, state and its names are those of `torch.optim.Muon`, so checkpoints of either load.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from lmm_tui.engine.training.row_exchange import RowExchange
from lmm_tui.metrics.step.grad_norms import local_part


class StackedMuon(torch.optim.Muon):
    """Momentum, Newton-Schulz and decoupled decay as in arXiv 2502.16982.

    `found_inf`, a 0-d tensor, may be set before a step: where it is 1 the step changes nothing,
    and the host need not know. `compute` is the precision of the Newton-Schulz iteration, in each
    group.
    """

    def __init__(
        self, params: Any, *, compute: Literal["bf16", "fp32"] = "bf16", **options: Any
    ) -> None:
        super().__init__(params, **options)
        for group in self.param_groups:
            group["compute"] = compute
        self.found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        skip = None if self.found_inf is None else self.found_inf.bool()
        for group in self.param_groups:
            for bucket in _buckets(group["params"]):
                self._step_bucket(bucket, group, skip)

    def _step_bucket(
        self, bucket: list[Tensor], group: dict[str, Any], skip: Tensor | None
    ) -> None:
        weights = [local_part(parameter) for parameter in bucket]
        momenta = [local_part(self._momentum(parameter)) for parameter in bucket]
        grads_NxAxB = torch.stack([local_part(p.grad) for p in bucket if p.grad is not None])
        keep: Tensor | float = 1.0
        if skip is not None:
            keep = (~skip).to(grads_NxAxB.dtype)
            grads_NxAxB.masked_fill_(skip, 0.0)
        momenta_NxAxB = torch.stack(momenta)
        momenta_NxAxB.lerp_(grads_NxAxB, (1 - group["momentum"]) * keep)
        torch._foreach_copy_(momenta, momenta_NxAxB.unbind())
        if group["nesterov"]:
            update_NxAxB = grads_NxAxB.lerp_(momenta_NxAxB, group["momentum"])
        else:
            update_NxAxB = momenta_NxAxB
        # torch's Muon, whose state may be loaded here, has bf16 and does not say so.
        dtype = torch.float32 if group.get("compute") == "fp32" else torch.bfloat16
        direction_NxAxB = self._direction(bucket[0], update_NxAxB.to(dtype), group)
        rows, columns = bucket[0].shape
        lr: Tensor | float = group["lr"]
        torch._foreach_mul_(weights, 1 - lr * group["weight_decay"] * keep)
        step = -lr * _rate_factor(rows, columns, group["adjust_lr_fn"])
        moves = direction_NxAxB.to(weights[0].dtype)
        if skip is not None:
            moves = moves * keep
        if isinstance(step, Tensor):  # A CUDA graph would repeat a number.
            moves, step = moves * step, 1.0
        torch._foreach_add_(weights, moves.unbind(), alpha=step)

    def _direction(self, parameter: Tensor, update_NxAxB: Tensor, group: dict[str, Any]) -> Tensor:
        """The orthogonalised updates; of sharded parameters the rows of this rank."""
        settings = group["ns_coefficients"], group["ns_steps"], group["eps"]
        exchange = RowExchange.of(parameter, len(update_NxAxB))
        if exchange is None:
            return orthogonalised(update_NxAxB, *settings)
        owned_MxAxB = exchange.to_owners(update_NxAxB)
        return exchange.from_owners(orthogonalised(owned_MxAxB, *settings))

    def _momentum(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        found: Tensor = state["momentum_buffer"]
        return found


def orthogonalised(
    x_NxAxB: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """Each matrix with its singular values near 1, by the quintic Newton-Schulz iteration
    (kellerjordan.github.io/posts/muon); the arithmetic of `torch.optim.Muon`."""
    if not len(x_NxAxB):  # Of few matrices not every rank owns one.
        return x_NxAxB
    is_tall = x_NxAxB.shape[1] > x_NxAxB.shape[2]
    if is_tall:
        x_NxAxB = x_NxAxB.mT
    norms_N = torch.stack(torch._foreach_norm(x_NxAxB.unbind()))
    x_NxAxB = x_NxAxB / norms_N.clamp(min=eps).view(-1, 1, 1)
    if x_NxAxB.is_cpu:
        # Nothing is gained by batches there, whose products now and then round otherwise.
        found = [_iterated(x_AxB, torch.addmm, coefficients, steps) for x_AxB in x_NxAxB]
        x_NxAxB = torch.stack(found)
    else:
        x_NxAxB = _iterated(x_NxAxB, torch.baddbmm, coefficients, steps)
    return x_NxAxB.mT if is_tall else x_NxAxB


def _iterated(
    x: Tensor, product: Callable[..., Tensor], coefficients: tuple[float, float, float], steps: int
) -> Tensor:
    a, b, c = coefficients
    for _ in range(steps):
        gram = x @ x.mT
        x = product(x, product(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _buckets(parameters: list[Tensor]) -> Iterator[list[Tensor]]:
    """Parameters with a gradient that can be stacked, in their order."""
    found: defaultdict[Any, list[Tensor]] = defaultdict(list)
    for parameter in parameters:
        if parameter.grad is not None:
            spread = getattr(parameter, "placements", None), getattr(parameter, "device_mesh", None)
            found[parameter.shape, parameter.dtype, parameter.device, spread].append(parameter)
    yield from found.values()


def _rate_factor(rows: int, columns: int, kind: str | None) -> float:
    """What the learning rate is multiplied with, as in `torch.optim.Muon`."""
    if kind == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1, rows / columns))


if __name__ == "__main__":
    first, second = (
        [torch.nn.Parameter(torch.randn(3, 4, generator=torch.manual_seed(n))) for n in range(2)]
        for _ in range(2)
    )
    ours = StackedMuon(first, lr=0.1)
    theirs = torch.optim.Muon(second, lr=0.1)
    for optimizer, parameters in ((ours, first), (theirs, second)):
        for parameter in parameters:
            parameter.grad = parameter.detach() ** 2
        optimizer.step()
    print(first[0])
    assert all(map(torch.equal, first, second))
    print("=== 自测通过 ===")
