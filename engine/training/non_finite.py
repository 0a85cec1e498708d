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
    optimiser at a time: of two, one would step where the other overflowed. The optimisers of
    `engine.training.optim` take `found_inf`, as the scaler passes it to fused kernels.
    """
    if device.is_asynchronous(skip.device):
        optimizer.found_inf = skip.float()  # type: ignore[attr-defined]
        optimizer.step()
    elif not skip:
        optimizer.step()


if __name__ == "__main__":
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.full((2,), torch.nan)
    norm = weight.grad.norm()
    step_unless(is_non_finite(norm, norm), torch.optim.AdamW([weight], lr=0.1))
    print(weight)
    assert (weight == 1).all()
    print("=== 自测通过 ===")
