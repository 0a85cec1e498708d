"""Update ratio: the size of an optimiser step relative to the size of the weights, by layer.

Healthy training has about 1e-3; a change by ten times means that the learning rate or the optimiser
is off. Costs a copy of the weights during one optimiser step (about 1 % of a training step), only
on measured steps.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lmm_tui.metrics.layers import group_by_layer

_TINY = torch.finfo(torch.float32).tiny


class UpdateRatios:
    """‖w_after - w_before‖ / ‖w_before‖ by layer, of parameters that are trainable now."""

    def __init__(self, named_parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        trainable = {name: p for name, p in named_parameters if p.requires_grad}
        layer_of = group_by_layer(trainable)
        self.layers = tuple(dict.fromkeys(layer_of.values()))
        self._parameters = list(trainable.values())
        self._index = torch.tensor([self.layers.index(layer_of[name]) for name in trainable])
        self._before: list[Tensor] = []

    @torch.no_grad()
    def before(self) -> None:
        """Copy the weights; call it before the optimiser step."""
        self._before = [p.detach().clone() for p in self._parameters]

    @torch.no_grad()
    def after(self) -> Tensor:
        """(L,) ratios in the order of `layers`, on the device; 0 where no weight changed."""
        before, self._before = self._before, []
        sizes = self._by_layer(before)
        moved = self._by_layer(list(torch._foreach_sub([*self._parameters], before)))
        return moved / sizes.clamp_min(_TINY)

    def _by_layer(self, tensors: list[Tensor]) -> Tensor:
        norms = torch.stack(torch._foreach_norm(tensors)).float()
        squares = torch.zeros(len(self.layers), device=norms.device)
        return squares.index_add_(0, self._index.to(norms.device), norms.square()).sqrt()


if __name__ == "__main__":
    weight = nn.Parameter(torch.ones(4))
    ratios = UpdateRatios([("layers.0.weight", weight)])
    ratios.before()
    weight.data *= 1.001
    print(ratios.layers, ratios.after())
    print("=== 自测通过 ===")
