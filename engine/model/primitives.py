"""The modules of the decoder that hold parameters: matrices without bias, and RMSNorm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Linear):
    """A matrix without bias, left uninitialised for `Decoder.init_weights` or a checkpoint."""

    cast: Tensor | None = None
    """`weight` in the type of activations, within `cast_once`."""
    in_fp8: Callable[[Tensor], Tensor] | None = None
    """The product of passes with gradients, where `engine.model.fp8` has set one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def reset_parameters(self) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        """In the type of `x`: activations in bf16 stay so, whatever the weights are kept in."""
        if self.in_fp8 is not None and torch.is_grad_enabled():
            return self.in_fp8(x)
        return F.linear(x, self.weight.to(x.dtype) if self.cast is None else self.cast)


@contextmanager
def cast_once(model: nn.Module, dtype: torch.dtype | None) -> Iterator[None]:
    """In the `with` block weights, which stay as they are, are not cast in each pass.

    A pass over one token reads every weight for next to no work: casting reads it twice more. For
    2 bytes a parameter. With `dtype` None activations have the type of the weights.
    """
    found = [module for module in model.modules() if isinstance(module, Linear)]
    for linear in found if dtype is not None else []:
        linear.cast = linear.weight.detach().to(dtype)
    try:
        yield
    finally:
        for linear in found:
            linear.cast = None


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last dimension (arXiv 1910.07467)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cpu and x.dtype == self.weight.dtype and not torch.compiler.is_compiling():
            if not torch.is_grad_enabled():
                return (x * _rms_scale(x, self.eps)).mul_(self.weight)
            y: Tensor = _RMSNormOnCPU.apply(x, self.weight, self.eps)
            return y
        weight: Tensor = self.weight
        if not torch.is_autocast_enabled(x.device.type):
            weight = weight.to(x.dtype)  # Torch's one kernel wants one type; it adds up in fp32.
        return F.rms_norm(x, weight.shape, weight, self.eps)


class _RMSNormOnCPU(torch.autograd.Function):
    """Forward and backward in fewer kernels than torch's own norm, which is a chain of plain
    operations on a CPU: 2.5 against 3.2 ms for (4, 256, 512) on 2 cores."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale = _rms_scale(x, eps)
        unit = x * scale
        ctx.save_for_backward(unit, weight, scale)
        return unit * weight

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        unit, weight, scale = ctx.saved_tensors
        grad_weight = (grad * unit).flatten(0, -2).sum(0)
        # x / rms(x) does not change with the length of x: no gradient along `unit`.
        grad_unit = grad * weight
        along = (grad_unit * unit).mean(-1, keepdim=True)
        return grad_unit.addcmul_(unit, along, value=-1).mul_(scale), grad_weight, None


def _rms_scale(x: Tensor, eps: float) -> Tensor:
    """1 / rms(x) over the last dimension, in the order of operations of torch's own norm, so that
    logits equal those of transformers to the last bit."""
    return x.square().mean(-1, keepdim=True).add_(eps).rsqrt_()


if __name__ == "__main__":
    norm, x = RMSNorm(8, 1e-6), torch.randn(3, 8)
    difference = (norm(x) - F.rms_norm(x, (8,), norm.weight, 1e-6)).abs().max().item()
    print(f"differs from torch's norm by {difference:.1e}")
    assert difference < 1e-6
    print("=== 自测通过 ===")
