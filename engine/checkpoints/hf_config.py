"""The config.json of a Hugging Face folder of Qwen3, read by schema and written.

Keys that change what the model computes are honoured, or the model is left to transformers
(`engine.checkpoints.foreign_weights`); unknown ones are listed.
Where a key is missing, transformers' default is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.config.model_shape import ModelShape, qwen3_fields
from lmm_tui.errors import LmmError

_NAMED = ("bos_token", "eos_token", "pad_token")
_DEFAULT_THETA = 1e4
_DEFAULT_HEAD_DIM = 128
_READ = {
    *("model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "intermediate_size", "max_position_embeddings"),
    *("rope_parameters", "rope_scaling", "rope_theta", "rms_norm_eps", "tie_word_embeddings"),
    *("attention_bias", "use_sliding_window", "hidden_act", "layer_types", "mlp_bias"),
    *("attention_dropout", "partial_rotary_factor", "pruned_heads"),
    *("quantization_config", "quantization"),
}
_NEEDED = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"),
    "intermediate_size",
)
_MOST = {
    **{"vocab_size": 1 << 24, "hidden_size": 1 << 20, "num_hidden_layers": 1 << 12},
    **{"num_attention_heads": 1 << 14, "num_key_value_heads": 1 << 14, "head_dim": 1 << 14},
    **{"intermediate_size": 1 << 22, "max_position_embeddings": 1 << 27},
}
"""Far above every model; what is larger is no shape, and its product would overflow."""
_WITHOUT_EFFECT = {
    *(
        "architectures",
        "transformers_version",
        "torch_dtype",
        "dtype",
        "use_cache",
        "_name_or_path",
    ),
    *("initializer_range", "sliding_window", "max_window_layers", "bos_token_id", "eos_token_id"),
    *("pad_token_id", "_attn_implementation", "auto_map", "return_dict", "is_decoder"),
    *("pretraining_tp", "output_attentions", "output_hidden_states", "chunk_size_feed_forward"),
    *("is_encoder_decoder", "id2label", "label2id", "problem_type", "tokenizer_class"),
}


class WeightsError(LmmError):
    """Weights that are missing, damaged, or of a model that a Decoder cannot represent."""


class ForeignArchitecture(WeightsError):
    """A config.json of a model that our decoder does not compute; transformers may."""


def hf_config(shape: ModelShape, tokenizer: Tokenizer) -> dict[str, Any]:
    """The `config.json` with which transformers builds the same model."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        **qwen3_fields(shape),
        # transformers 5 reads rope_parameters, older ones and other tools read this.
        "rope_theta": shape.rope_theta,
        **named_ids(tokenizer),
        "dtype": "float32",
    }


def named_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """`bos_token_id`, `eos_token_id` and `pad_token_id`, as far as the tokenizer has them."""
    found = {f"{name}_id": tokenizer.named_id(name) for name in _NAMED}
    return {name: token for name, token in found.items() if token is not None}


def shape_of_hf(config: Mapping[str, Any], path: Path) -> ModelShape:
    """The shape that a config.json describes; WeightsError where a Decoder is no such model."""
    if config.get("model_type") != "qwen3":
        raise ForeignArchitecture(
            "{path}: is a {model_type} model, which our decoder does not compute",
            path=path,
            model_type=config.get("model_type"),
        )
    rope: dict[str, Any] = {}
    for name in ("rope_scaling", "rope_parameters"):
        rope |= _of_type(config, name, dict, path)
    layers = _of_type(config, "layer_types", list, path)
    refused = {
        "attention_bias": bool(config.get("attention_bias")),
        "mlp_bias": bool(config.get("mlp_bias")),
        "use_sliding_window": bool(config.get("use_sliding_window")),
        "layer_types": any(kind != "full_attention" for kind in layers),
        "rope scaling": rope.get("rope_type", rope.get("type", "default")) != "default",
        "partial_rotary_factor": rope.get(
            "partial_rotary_factor", config.get("partial_rotary_factor") or 1
        )
        != 1,
        "hidden_act": config.get("hidden_act", "silu") != "silu",
        "attention_dropout": bool(config.get("attention_dropout")),
        "quantization_config": bool(
            config.get("quantization_config") or config.get("quantization")
        ),
        "pruned_heads": bool(config.get("pruned_heads")),
    }
    for name, present in refused.items():
        if present:
            raise ForeignArchitecture(
                "{path}: config.json sets {name}, which our decoder does not have",
                path=path,
                name=name,
            )
    file = path / "config.json"
    whole = {
        name: whole_number(config, name, most, file)
        for name, most in _MOST.items()
        if config.get(name) is not None
    }
    for name in _NEEDED:
        if name not in whole:
            raise WeightsError("{path}: config.json has no {name}", path=path, name=name)
    heads, hidden = whole["num_attention_heads"], whole["hidden_size"]
    head_dim = hidden // heads if "head_dim" in config else _DEFAULT_HEAD_DIM
    kv_heads = whole.get("num_key_value_heads", heads)
    head_dim = whole.get("head_dim", head_dim)
    if heads % kv_heads or not head_dim or head_dim % 2:
        raise WeightsError(
            "{path}: config.json: {heads} heads, {kv_heads} for keys and values, "
            "of {head_dim} numbers are no attention; the first are a multiple of "
            "the second, the last is even",
            path=path,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
        )
    theta = {"rope_theta": rope.get("rope_theta") or config.get("rope_theta") or _DEFAULT_THETA}
    return ModelShape(
        vocab_size=whole["vocab_size"],
        hidden_size=hidden,
        num_layers=whole["num_hidden_layers"],
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        intermediate_size=whole["intermediate_size"],
        max_positions=whole.get("max_position_embeddings", 32768),
        rope_theta=positive_number(theta, "rope_theta", file),
        rms_eps=positive_number({"rms_norm_eps": 1e-6} | dict(config), "rms_norm_eps", file),
        tie_embeddings=config.get("tie_word_embeddings", False) is True,
    )


def whole_number(found: Mapping[str, Any], name: str, most: int, file: Path) -> int:
    """`found[name]` from 1 to `most`; WeightsError for anything else."""
    value = found[name]
    if type(value) is int and 1 <= value <= most:
        return value
    raise WeightsError(
        "{file}: {name} should be a whole number from 1 to {most:,} (got {short})",
        file=file,
        name=name,
        most=most,
        short=_short(value),
    )


def positive_number(found: Mapping[str, Any], name: str, file: Path) -> float:
    """`found[name]` above 0 and below 1e15; WeightsError for anything else."""
    value = found[name]
    if type(value) in (int, float) and 0 < value < 1e15:
        return float(value)
    raise WeightsError(
        "{file}: {name} should be a number above 0 (got {short})",
        file=file,
        name=name,
        short=_short(value),
    )


def _of_type(config: Mapping[str, Any], name: str, kind: type, path: Path) -> Any:
    value = config.get(name)
    if value is not None and not isinstance(value, kind):
        raise WeightsError(
            "{path}: {name} should be a table"
            if kind is dict
            else "{path}: {name} should be a list",
            path=path / "config.json",
            name=name,
        )
    return value or kind()


def _short(value: object) -> str:
    return repr(value)[:60]


def unknown_keys(config: Mapping[str, Any]) -> list[str]:
    """The keys of a config.json that have a value and that nobody here knows."""
    return [
        key
        for key, value in config.items()
        if value is not None and key not in _READ and key not in _WITHOUT_EFFECT
    ]


if __name__ == "__main__":
    words = Tokenizer.train(["the cat sat on the mat"] * 9, 280)
    demo = ModelShape(words.vocab_size, 32, 2, 4, 2, 8, 64, max_positions=77, rope_theta=5e5)
    written = hf_config(demo, words)
    print(written)
    assert shape_of_hf(written, Path("demo")) == demo and not unknown_keys(written)
    print("=== 自测通过 ===")
