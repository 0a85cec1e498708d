"""How far a step moves the weights of each layer, relative to how large they are.

Healthy training has about 1e-3; ten times off its own history says that the learning rate or the
optimiser is not what it was. Costs a copy of the weights for the time of one optimiser step
(about 1 % of a training step), only on the steps that are looked at. Knows no optimiser.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lmm_tui.metrics.layers import group_by_layer

_TINY = torch.finfo(torch.float32).tiny


class UpdateRatios:
    """‖w_after - w_before‖ / ‖w_before‖ by layer, of the now trainable parameters."""

    def __init__(self, named_parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        trainable = {name: p for name, p in named_parameters if p.requires_grad}
        layer_of = group_by_layer(trainable)
        self.layers = tuple(dict.fromkeys(layer_of.values()))
        self._parameters = list(trainable.values())
        self._index = torch.tensor([self.layers.index(layer_of[name]) for name in trainable])
        self._before: list[Tensor] = []

    @torch.no_grad()
    def before(self) -> None:
        """Keep the weights as they are."""
        self._before = [p.detach().clone() for p in self._parameters]

    @torch.no_grad()
    def after(self) -> Tensor:
        """(L,) ratios in the order of `layers`, on the device; 0 where nothing moved."""
        before, self._before = self._before, []
        sizes = self._by_layer(before)
        moved = self._by_layer(list(torch._foreach_sub([*self._parameters], before)))
        return moved / sizes.clamp_min(_TINY)

    def _by_layer(self, tensors: list[Tensor]) -> Tensor:
        norms = torch.stack(torch._foreach_norm(tensors)).float()
        squares = torch.zeros(len(self.layers), device=norms.device)
        return squares.index_add_(0, self._index.to(norms.device), norms.square()).sqrt()


if __name__ == "__main__":
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    ratios = UpdateRatios(model.named_parameters())
    ratios.before()
    with torch.no_grad():
        for parameter in model[0].parameters():
            parameter.mul_(1.001)
    found = dict(zip(ratios.layers, ratios.after().tolist(), strict=True))
    print(found)
    assert abs(found["0"] - 1e-3) < 1e-5 and found["1"] == 0.0
    print("=== 自测通过 ===")
