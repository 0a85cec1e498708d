"""Steps whose loss or gradient is no number: their update is left out, without a look at it.

On a CPU a look is free. On a GPU it would wait for the step, so the decision stays on the device;
what the numbers were is read one step late like all others.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lmm_tui.engine import device
from lmm_tui.errors import LmmError


class DivergedError(LmmError):
    """A loss or gradient that is no number, where the configuration says to stop then."""


def is_bad(loss: Tensor, norm: Tensor) -> Tensor:
    """Whether loss or gradient norm is NaN or infinite, as a 0-d bool tensor on their device."""
    return ~(torch.isfinite(loss) & torch.isfinite(norm))


def step_unless(
    bad: Tensor, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
) -> None:
    """One step of `optimizer`, or none at all where `bad`; never waits for a GPU.

    fp16's scaler decides for itself, since too large a scale is no bad step. Fused kernels on CUDA
    take `found_inf`, as the scaler hands it to them; of what has none, the state before is put
    back: a copy of its weights and moments for the time of a step.
    """
    if scaler.is_enabled():
        scaler.step(optimizer)
    elif not device.is_asynchronous(bad.device):
        if not bad:
            optimizer.step()
    elif device.fused_step_can_skip(bad.device) and _is_fused(optimizer):
        optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
        optimizer.step()
    else:
        _step_and_put_back(bad, optimizer)


def _is_fused(optimizer: torch.optim.Optimizer) -> bool:
    return all(group.get("fused") for group in optimizer.param_groups)


@torch.no_grad()
def _step_and_put_back(bad: Tensor, optimizer: torch.optim.Optimizer) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    before = [p.clone() for p in parameters]
    moments = {
        p: {name: value.clone() for name, value in state.items() if isinstance(value, Tensor)}
        for p, state in optimizer.state.items()
    }
    optimizer.step()
    for parameter, old in zip(parameters, before, strict=True):
        parameter.copy_(torch.where(bad, old, parameter))
    for parameter, state in optimizer.state.items():
        # Moments begin as zeros; a first step has none from before.
        olds = moments.get(parameter, {})
        for name, value in state.items():
            if isinstance(value, Tensor):
                old = olds.get(name, torch.zeros_like(value))
                value.copy_(torch.where(bad.to(value.device), old, value))


if __name__ == "__main__":
    weight = torch.nn.Parameter(torch.ones(2, 2))
    plain = torch.amp.GradScaler("cpu", enabled=False)
    for name, make in {"AdamW": torch.optim.AdamW, "Muon": torch.optim.Muon}.items():
        chosen = make([weight], lr=0.1)
        for gradient in (float("nan"), 1.0):
            weight.grad = torch.full((2, 2), gradient)
            norm = weight.grad.norm()
            before = weight.detach().clone()
            _step_and_put_back(is_bad(norm, norm), chosen)
            print(name, gradient, "moves" if (weight != before).any() else "stays")
            assert (weight != before).any().item() is (gradient == 1.0)
            step_unless(torch.tensor(True), chosen, plain)
    print("=== 自测通过 ===")
