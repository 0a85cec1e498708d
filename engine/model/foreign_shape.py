"""The shape of a model of transformers, and the parameters and FLOPs counted in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lmm_tui.engine.config.model_shape import ModelShape

_LONGEST = 1_048_576


@dataclass(frozen=True)
class ForeignShape(ModelShape):
    """As far as another architecture has the same numbers; parameters are counted, not derived."""

    counted: int = 0
    """Parameters, a tied head once."""
    active: int = 0
    """Those that multiply each token: without the embedding, and of experts the chosen ones."""

    @property
    def parameters(self) -> int:
        return self.counted

    def flops_per_token(self, seq_len: int) -> float:
        attention = 12 * self.num_layers * self.num_heads * self.head_dim * (seq_len / 2)
        return 6.0 * self.active + attention


def foreign_shape(hf: Any, tied: bool) -> ForeignShape:
    """The numbers that the configuration of `hf` has, by transformers' common names."""
    config = hf.config.get_text_config(decoder=True)
    hidden, heads = int(config.hidden_size), int(config.num_attention_heads)
    inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None)
    longest = getattr(config, "max_position_embeddings", None) or _LONGEST
    counted = sum(parameter.numel() for parameter in hf.parameters())
    head = hf.get_output_embeddings().weight
    return ForeignShape(
        vocab_size=len(head),
        hidden_size=hidden,
        num_layers=int(config.num_hidden_layers),
        num_heads=heads,
        num_kv_heads=int(getattr(config, "num_key_value_heads", None) or heads),
        head_dim=int(getattr(config, "head_dim", None) or hidden // heads),
        intermediate_size=int(inner or 4 * hidden),
        max_positions=min(int(longest), _LONGEST),
        tie_embeddings=tied,
        counted=counted,
        active=_active(hf, config) + head.numel(),
    )


def _active(hf: Any, config: Any) -> int:
    from torch import nn  # Its shape is read where torch is not wanted.

    experts = getattr(config, "num_experts", None) or getattr(config, "num_local_experts", None)
    chosen = getattr(config, "num_experts_per_tok", None)
    embeddings = {
        id(parameter)
        for module in hf.modules()
        if isinstance(module, nn.Embedding)
        for parameter in module.parameters()
    }
    head, total = id(hf.get_output_embeddings().weight), 0
    for name, parameter in hf.named_parameters():
        if id(parameter) in embeddings or id(parameter) == head:
            continue
        if experts and chosen and ".experts." in name:
            total += parameter.numel() * int(chosen) // int(experts)
        else:
            total += parameter.numel()
    return total


if __name__ == "__main__":
    shape = ForeignShape(64, 32, 2, 4, 2, 8, 64, counted=100, active=80)
    print(shape, shape.flops_per_token(0))
    assert shape.parameters == 100 and shape.flops_per_token(0) == 480
    print("=== 自测通过 ===")
