"""Skips the update of a step whose loss or gradient is not finite, without waiting for a GPU.

On a GPU, reading the loss would wait for the step, so the decision stays on the device; the
numbers are read one step late like all others. What happens then is `non_finite_policy`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lmm_tui.engine import device


def is_non_finite(loss: Tensor, norm: Tensor) -> Tensor:
    """Whether loss or gradient norm is NaN or infinite, as a 0-d bool tensor on their device."""
    return ~(torch.isfinite(loss) & torch.isfinite(norm))


def step_unless(skip: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Make one step of `optimizer` unless `skip`; never waits for a GPU.

    Gradients are unscaled already. GradScaler's own step would look at the gradients of one
    optimiser at a time: of two, one would step where the other overflowed.
    Fused kernels on CUDA take `found_inf`, as the scaler passes it to them. Optimisers without it
    make the step, and it is undone: that costs a copy of weights and moments for its duration.
    """
    if not device.is_asynchronous(skip.device):
        if not skip:
            optimizer.step()
    elif device.fused_step_can_skip(skip.device) and _is_fused(optimizer):
        optimizer.found_inf = skip.float()  # type: ignore[attr-defined]
        optimizer.step()
    else:
        _step_and_undo(skip, optimizer)


def _is_fused(optimizer: torch.optim.Optimizer) -> bool:
    return all(group.get("fused") for group in optimizer.param_groups)


@torch.no_grad()
def _step_and_undo(skip: Tensor, optimizer: torch.optim.Optimizer) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    before = [p.clone() for p in parameters]
    moments = {
        p: {name: value.clone() for name, value in state.items() if isinstance(value, Tensor)}
        for p, state in optimizer.state.items()
    }
    optimizer.step()
    for parameter, old in zip(parameters, before, strict=True):
        parameter.copy_(torch.where(skip, old, parameter))
    for parameter, state in optimizer.state.items():
        # Before the first step there are no moments; they start as zeros.
        olds = moments.get(parameter, {})
        for name, value in state.items():
            if isinstance(value, Tensor):
                old = olds.get(name, torch.zeros_like(value))
                value.copy_(torch.where(skip.to(value.device), old, value))


if __name__ == "__main__":
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.full((2,), torch.nan)
    norm = weight.grad.norm()
    _step_and_undo(is_non_finite(norm, norm), torch.optim.AdamW([weight], lr=0.1))
    print(weight)
    assert (weight == 1).all()
    print("=== 自测通过 ===")
