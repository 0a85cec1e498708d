"""Lets a step run on fake tensors of the CPU as it would on a card, and without reading a number.

What the host reads of a tensor is answered: a step is finite, its gradients are clipped, all
labels count. With `is_card` the paths and kernels are those that the card takes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import _engine_run_backward
from torch.overrides import TorchFunctionMode

_GROUPED = (torch._grouped_mm, F.grouped_mm)
_IS_CPU = Tensor.is_cpu.__get__  # type: ignore[attr-defined]


class CardKernels(TorchFunctionMode):
    """Active in its `with` block."""

    def __init__(self, is_card: bool) -> None:
        super().__init__()
        self._is_card = is_card

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.__bool__:
            return False
        if func is Tensor.backward:
            with self:  # Layers may be computed again in it.
                _backward(args[0])
            return None
        if func is Tensor.item:
            return 0.5
        if func is Tensor.nonzero and args[0].ndim == 1:
            return torch.arange(len(args[0])).unsqueeze(1)
        if func in _GROUPED and args[0].dtype != torch.bfloat16:
            return _GroupedProduct.apply(args[0], args[1])
        if self._is_card:
            if func == _IS_CPU:
                return False
            if func is F.rms_norm:
                return _fused_rms_norm(*args, **kwargs)
        return func(*args, **kwargs)


def _backward(loss: Tensor) -> None:
    """As `loss.backward()`, which would come here again."""
    _engine_run_backward(
        (loss,),
        (torch.ones_like(loss),),
        False,
        False,
        (),
        allow_unreachable=True,
        accumulate_grad=True,
    )


def _fused_rms_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor, eps: float | None = None
) -> Tensor:
    """CUDA's kernel, which autocast gives fp32; a chain of operations on a CPU."""
    del normalized_shape, eps
    wide = input.float() if torch.is_autocast_enabled("cpu") else input
    found: Tensor = _FusedRMSNorm.apply(wide, weight)
    return found


class _FusedRMSNorm(torch.autograd.Function):
    """Its sizes, not its numbers: the input and a number a row are kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, x.new_empty(x.shape[:-1], dtype=torch.float32))
        return torch.empty_like(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight, _ = ctx.saved_tensors
        return torch.empty_like(x), torch.empty_like(weight)


class _GroupedProduct(torch.autograd.Function):
    """The sizes of a product of each expert's rows, which fake tensors have in bf16 alone."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, matrices: Tensor) -> Tensor:
        ctx.save_for_backward(rows, matrices)
        return rows.new_empty(len(rows), matrices.shape[-1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        rows, matrices = ctx.saved_tensors
        return torch.empty_like(rows), torch.empty_like(matrices)


if __name__ == "__main__":
    with CardKernels(is_card=True):
        x = torch.randn(2, 3, requires_grad=True)
        y = F.rms_norm(x, (3,), torch.ones(3), 1e-6)
        print(x.is_cpu, y.shape, type(y.grad_fn).__name__)
        assert not x.is_cpu and y.shape == x.shape
    print("=== 自测通过 ===")
