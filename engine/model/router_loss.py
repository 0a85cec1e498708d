"""How unevenly a mixture of experts uses its experts: the loss that balances its router."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def router_loss(
    router_logits: Sequence[Tensor], config: Any, text_N: Tensor | None = None
) -> Tensor:
    """E * sum over experts of (share of choices) * (mean probability), 1 and more for top-1.

    The formulae are those of the Switch Transformer (arXiv 2101.03961, equations 4 to 6), with
    the shares of all layers together as transformers computes them, or layer by layer and added up
    (`router_loss_per_layer`) as MiniMind does. `router_logits` are (tokens, E), one a layer;
    `text_N` marks the tokens that are no padding.
    """
    count, chosen = _experts(config), config.num_experts_per_tok
    layers = [logits.reshape(-1, count) for logits in router_logits]
    if text_N is not None:
        layers = [layer[text_N] for layer in layers]
    if getattr(config, "router_loss_per_layer", False):
        return torch.stack([_uneven(layer, count, chosen) for layer in layers]).sum()
    return _uneven(torch.cat(layers), count, chosen)


def _uneven(logits_NxE: Tensor, count: int, chosen: int) -> Tensor:
    p_NxE = logits_NxE.float().softmax(-1)
    top_NxK = p_NxE.topk(chosen, dim=-1).indices
    share_E = torch.zeros_like(p_NxE).scatter_(1, top_NxK, 1.0).mean(0)
    return count * (share_E * p_NxE.mean(0)).sum()


def _experts(config: Any) -> int:
    for name in ("num_experts", "num_local_experts", "n_routed_experts"):
        if found := getattr(config, name, None):
            return int(found)
    raise AttributeError("the configuration has no number of experts")


if __name__ == "__main__":
    from types import SimpleNamespace

    even = torch.eye(4).repeat(8, 1) * 9
    about = SimpleNamespace(num_experts=4, num_experts_per_tok=1)
    print(router_loss([even], about), router_loss([even[:1].repeat(32, 1)], about))
    assert abs(float(router_loss([even], about)) - 1) < 1e-3
    print("=== 自测通过 ===")
