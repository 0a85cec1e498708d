"""Our model shapes as transformers' Qwen3, the peer of training and of generation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmm_tui.engine.config.model_shape import ModelShape

if TYPE_CHECKING:
    from transformers import Qwen3ForCausalLM


def qwen3(shape: ModelShape) -> Qwen3ForCausalLM:
    """A model of this shape, with weights of its own."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=shape.vocab_size,
            hidden_size=shape.hidden_size,
            intermediate_size=shape.intermediate_size,
            num_hidden_layers=shape.num_layers,
            num_attention_heads=shape.num_heads,
            num_key_value_heads=shape.num_kv_heads,
            head_dim=shape.head_dim,
            max_position_embeddings=shape.max_positions,
            rms_norm_eps=shape.rms_eps,
            rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
            tie_word_embeddings=shape.tie_embeddings,
        )
    )
