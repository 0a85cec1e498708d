"""Small random models of the architectures in docs/models.md, as transformers makes them."""

from pathlib import Path
from typing import Any

import torch

VOCABULARY = 300
_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
_GEMMA = {"head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 8}
_MOE = {"head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": _COMMON,
    "qwen2": _COMMON | {"tie_word_embeddings": True},
    "qwen3": _COMMON
    | {"head_dim": 8, "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    "gemma2": _COMMON | _GEMMA | {"final_logit_softcapping": 3.0, "attn_logit_softcapping": 2.0},
    "gemma3_text": _COMMON | _GEMMA | {"layer_types": ["sliding_attention", "full_attention"]},
    "phi3": _COMMON,
    "gpt2": {
        **{"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
        **{"bos_token_id": None, "eos_token_id": 0},
        **{"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    },
    "mistral": _COMMON | {"sliding_window": 6},
    "olmo2": _COMMON,
    "qwen3_moe": _COMMON | _MOE,
    # Of others, those that take another way through our code.
    "phi": _COMMON,
    "bloom": {
        **{"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 2, "n_head": 4},
        **{"bos_token_id": None, "eos_token_id": 0},
    },
    "gpt_oss": _COMMON
    | {**{"head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2}, "sliding_window": 6},
}

AS_GGUF: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": None},
    "qwen2": {},
    "qwen3_moe": {"norm_topk_prob": True},
    "gemma2": {"sliding_window": 32},
    "gemma3_text": {"sliding_window": 32, "num_hidden_layers": 6, "layer_types": None},
    "olmo2": {},
    "phi3": {},
    "gpt2": {},
    "qwen3": {"use_sliding_window": False},
}
"""Changes without which llama.cpp computes another model, which is refused."""


def made(name: str, **changes: Any) -> Any:
    """A model of transformers whose weights are none of those that make terms vanish."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    torch.manual_seed(0)
    config = CONFIG_MAPPING[name](**ARCHITECTURES[name] | changes)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def model_folder(name: str, folder: Path, **changes: Any) -> Any:
    """`made`, written to a folder without a tokenizer."""
    model = made(name, **changes)
    model.save_pretrained(folder)
    return model
