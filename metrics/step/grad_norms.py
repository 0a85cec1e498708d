"""Gradient norms by layer, computed once and then reused for clipping.

Cheaper than `clip_grad_norm_` alone: on the CPU, where reading the norm needs no sync, gradients
that need no clipping are not multiplied.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lmm_tui.metrics.layers import group_by_layer

_CLIP_EPS = 1e-6  # of torch.nn.utils.clip_grad_norm_


@dataclass(frozen=True)
class LayerNorms:
    """Gradient norms of one step, before clipping; tensors on the device."""

    names: tuple[str, ...]
    layers: Tensor
    """(L,) norm of each layer, in the order of `names`."""
    total: Tensor
    """0-d norm of all gradients: the square root of the sum of the layers' squares."""

    def by_layer(self) -> dict[str, float]:
        """The layers' norms as numbers: one copy from the device."""
        return dict(zip(self.names, self.layers.tolist(), strict=True))


class GradNorms:
    """Measures and clips the gradients of parameters that are trainable now, all on one device.

    A norm of exactly 0 means that a trainable layer got no gradient: detached, or not in the graph.
    Of parameters that are divided among processes (`DTensor`) it is this process's part that
    `squares` measures; their sum over the processes goes to `adopt`.
    """

    def __init__(self, named_parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        trainable = {name: p for name, p in named_parameters if p.requires_grad}
        layer_of = group_by_layer(trainable)
        self.layers = tuple(dict.fromkeys(layer_of.values()))
        self._parameters = list(trainable.values())
        self._layer_index = [self.layers.index(layer_of[name]) for name in trainable]
        self._has_grad: list[bool] = []
        self._index = torch.empty(0, dtype=torch.long)
        self._grads: list[Tensor] = []
        self._total = torch.zeros(())

    @torch.no_grad()
    def measure(self) -> LayerNorms:
        """The norms of the present gradients: accumulated, unscaled, not yet clipped."""
        norms = self._take()
        if norms is None:
            self._total = torch.zeros(())
            return LayerNorms(self.layers, torch.zeros(len(self.layers)), self._total)
        self._total = torch.linalg.vector_norm(norms)
        return LayerNorms(self.layers, self._by_layer(norms.float().square()).sqrt(), self._total)

    @torch.no_grad()
    def squares(self) -> Tensor:
        """The squared norm of each layer's present gradients in this process, (L,), fp64."""
        norms = self._take()
        if norms is None:
            return torch.zeros(len(self.layers), dtype=torch.float64)
        return self._by_layer(norms.double().square())

    def adopt(self, squares_L: Tensor) -> LayerNorms:
        """The norms whose squares, summed over all processes, are `squares_L`; `clip` uses them."""
        self._total = squares_L.sum().sqrt().float()
        return LayerNorms(self.layers, squares_L.sqrt().float(), self._total)

    def _take(self) -> Tensor | None:
        """The norm of each present gradient, which `clip` will scale; None where there is none."""
        has_grad = [p.grad is not None for p in self._parameters]
        self._grads = [local_part(p.grad) for p in self._parameters if p.grad is not None]
        if not self._grads:
            return None
        if has_grad != self._has_grad:  # Seldom: copying the index would stall the device.
            chosen = zip(self._layer_index, has_grad, strict=True)
            index = [layer for layer, present in chosen if present]
            self._index = torch.tensor(index).to(self._grads[0].device, non_blocking=True)
            self._has_grad = has_grad
        return torch.stack(torch._foreach_norm(self._grads))

    def _by_layer(self, values: Tensor) -> Tensor:
        """Added up by layer: a few kernels, however many parameters."""
        sums = torch.zeros(len(self.layers), dtype=values.dtype, device=values.device)
        return sums.index_add_(0, self._index, values)

    @torch.no_grad()
    def clip(self, max_norm: float) -> None:
        """Scale the measured gradients by min(1, max_norm / (total + 1e-6)), without a device sync.

        Bit-identical with `torch.nn.utils.clip_grad_norm_`.
        """
        grads, self._grads = self._grads, []
        coefficient = torch.clamp(max_norm / (self._total + _CLIP_EPS), max=1.0)
        if not grads or (reading_is_free(coefficient) and coefficient.item() == 1.0):
            return
        torch._foreach_mul_(grads, coefficient)


def reading_is_free(tensor: Tensor) -> bool:
    """Whether the host has the tensor's numbers without waiting for a device."""
    return tensor.is_cpu


def local_part(tensor: Tensor) -> Tensor:
    """Of a tensor that is divided among processes (`DTensor`) what this one has, else all of it."""
    # By its method: its module takes a second to import, which one process never needs.
    part: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part


if __name__ == "__main__":
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
    model(torch.randn(32, 8)).square().sum().backward()
    watch = GradNorms(model.named_parameters())
    print(watch.measure().by_layer())
    watch.clip(max_norm=0.1)
    assert torch.allclose(watch.measure().total, torch.tensor(0.1))
    print("=== 自测通过 ===")
