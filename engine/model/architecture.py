"""Builds a model: our decoder, a mixture of experts, or any architecture of transformers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lmm_tui.engine.config.model_shape import ModelShape, qwen3_fields
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.errors import LmmError

if TYPE_CHECKING:
    from lmm_tui.engine.model.hf_model import HfModel

_ROUTER_LOSS = 5e-4
"""MiniMind's coefficient."""


_MOST_LAYERS, _LARGEST_SIZE = 1000, 1 << 24
_SIZE = re.compile(r"(num_|n_).*|.*(_size|_dim)")


class ArchitectureError(LmmError):
    """A config.json with numbers that no model has."""


def build(
    shape: ModelShape, architecture: Mapping[str, Any] | None = None, seed: int | None = None
) -> LanguageModel:
    """A model of this shape or, with `architecture`, of that config.json of transformers.

    Weights are drawn with `seed`; without it they are uninitialised.
    """
    if architecture is not None or shape.num_experts:
        return build_foreign(architecture or moe_config(shape), seed)
    decoder = Decoder(shape)
    if seed is not None:
        decoder.init_weights(seed)
    return decoder


def build_foreign(architecture: Mapping[str, Any], seed: int | None = None) -> HfModel:
    """A model of transformers; that library is imported here and not before."""
    from lmm_tui.engine.model.hf_model import HfModel

    return HfModel(transformers_config(architecture), seed)


def refuse_sizes(architecture: Mapping[str, Any]) -> None:
    """Layers are made one by one, and a size may overflow: both before anything is compared."""
    for name, value in architecture.items():
        most = _MOST_LAYERS if "layer" in name else _LARGEST_SIZE
        if isinstance(value, Mapping):
            refuse_sizes(value)
        elif isinstance(value, int | float) and _SIZE.fullmatch(name) and value > most:
            raise ArchitectureError(
                "{name}: {value} is more than any model has ({most}); choose another model",
                name=name,
                value=value,
                most=most,
            )


def transformers_config(architecture: Mapping[str, Any]) -> Any:
    """The configuration that a config.json describes; code that it names is never loaded.

    Raises KeyError for an architecture that transformers does not know, and its errors for numbers
    that contradict each other.
    """
    from transformers import CONFIG_MAPPING

    refuse_sizes(architecture)
    known = {name: value for name, value in architecture.items() if name != "auto_map"}
    return CONFIG_MAPPING[architecture["model_type"]].from_dict(known)


def architecture_name(model: LanguageModel) -> str | None:
    """transformers' name of the architecture, such as llama; None for our decoder."""
    hf: Any = getattr(model, "hf", None)
    return None if hf is None else str(hf.config.model_type)


def moe_config(shape: ModelShape) -> dict[str, Any]:
    """MiniMind's mixture of experts, as the Qwen3-MoE of transformers that computes the same."""
    return {
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        **qwen3_fields(shape),
        "moe_intermediate_size": shape.intermediate_size,
        "num_experts": shape.num_experts,
        "num_experts_per_tok": shape.experts_per_token,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "router_aux_loss_coef": _ROUTER_LOSS,
        "router_loss_per_layer": True,
        "eos_token_id": None,
    }


if __name__ == "__main__":
    demo = ModelShape(64, 32, 2, 4, 2, 8, 64, num_experts=4, experts_per_token=1)
    for shape in (demo, ModelShape(64, 32, 2, 4, 2, 8, 64)):
        model = build(shape, seed=0)
        print(type(model).__name__, model.shape.parameters, shape.parameters)
        assert model.shape.parameters == shape.parameters
        assert abs(model.shape.flops_per_token(8) / shape.flops_per_token(8) - 1) < 0.01
    print("=== 自测通过 ===")
