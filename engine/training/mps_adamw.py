"""AdamW whose step a tensor on the device can skip, for devices whose fused kernel cannot (MPS).

State and arguments are those of `torch.optim.AdamW`: checkpoints of either load.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class SkippableAdamW(torch.optim.AdamW):
    """arXiv 1711.05101. Where `found_inf`, a 0-d tensor, is 1, the step changes nothing."""

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, **options)
        self.found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            self._step_group(group)

    def _step_group(self, group: dict[str, Any]) -> None:
        weights = [p for p in group["params"] if p.grad is not None]
        if not weights:
            return
        none = torch.zeros((), device=weights[0].device)
        skip = none if self.found_inf is None else self.found_inf
        keep = 1 - skip
        grads = [p.grad.masked_fill(skip.bool(), 0.0) for p in weights]
        states = [self._state_of(p) for p in weights]
        steps = [state["step"] for state in states]
        first = [state["exp_avg"] for state in states]
        second = [state["exp_avg_sq"] for state in states]
        lr, (beta1, beta2) = float(group["lr"]), group["betas"]
        torch._foreach_add_(steps, [keep] * len(steps))
        torch._foreach_mul_(weights, 1 - lr * group["weight_decay"] * keep)
        torch._foreach_lerp_(first, grads, [(1 - beta1) * keep] * len(grads))
        squares = torch._foreach_mul(grads, grads)
        torch._foreach_lerp_(second, squares, [(1 - beta2) * keep] * len(grads))
        # At least one step: before the first there is nothing to correct, and nothing moves.
        counted = torch._foreach_clamp_min(steps, 1.0)
        for weight, mean, square, step in zip(weights, first, second, counted, strict=True):
            root = square.sqrt() / (1 - beta2**step).sqrt() + group["eps"]
            weight.addcdiv_(mean * (keep * -lr / (1 - beta1**step)), root)

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state


if __name__ == "__main__":
    weights = [torch.nn.Parameter(torch.ones(2, 2)) for _ in range(2)]
    pair = SkippableAdamW([weights[0]], lr=0.1), torch.optim.AdamW([weights[1]], lr=0.1)
    for optimizer, weight in zip(pair, weights, strict=True):
        weight.grad = torch.full((2, 2), 0.5)
        optimizer.step()
    print(weights[0])
    assert torch.allclose(*weights)
    print("=== 自测通过 ===")
