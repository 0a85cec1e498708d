"""How models stand in a GGUF file: the name of their architecture, its keys, and their tensors.

The order of numbers in a tensor, and what is stored of it, are those of llama.cpp's
convert_hf_to_gguf.py; what llama.cpp computes in another way than the model is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import torch
from gguf import MODEL_ARCH
from torch import Tensor

from lmm_tui.engine.checkpoints.hf_config import WeightsError
from lmm_tui.engine.config.model_shape import ModelShape, qwen3_fields
from lmm_tui.engine.model.architecture import transformers_config

Fit = Callable[[str, Tensor, Any], Tensor]
"""(transformers' name, tensor, configuration) -> the tensor as GGUF holds it."""

_GEMMA_SCALE_KEY = "query_pre_attn_scalar"
_LOCAL_THETA = 1e4
"""Of Gemma 3's layers with a window, as llama.cpp has it."""


@dataclass(frozen=True)
class GgufModel:
    """What a GGUF file says of a model, besides its tokenizer."""

    arch: MODEL_ARCH
    config: Any
    """Of transformers, or with the same fields."""
    fit: Fit

    @property
    def name(self) -> str:
        return gguf.MODEL_ARCH_NAMES[self.arch]

    @property
    def layers(self) -> int:
        return int(self.config.num_hidden_layers)

    def tensors(self, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Under GGUF's names."""
        names = gguf.get_tensor_name_map(self.arch, self.layers)
        named: dict[str, Tensor] = {}
        for key, tensor in _experts_apart(found).items():
            its_name = names.get_name(key, try_suffixes=(".weight", ".bias"))
            if its_name is None:
                raise WeightsError(
                    "tensor {key} has no place in a GGUF file of {name}; write a folder instead",
                    key=key,
                    name=self.name,
                )
            if not its_name.endswith((".weight", ".bias")):
                its_name += ".weight"  # Of experts, which have no such suffix in transformers.
            named[its_name] = self.fit(key, tensor.detach().float(), self.config)
        return named

    def describe(self, writer: gguf.GGUFWriter) -> None:
        """Write the keys of the architecture."""
        config = self.config
        heads = config.num_attention_heads
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
        writer.add_context_length(config.max_position_embeddings)
        writer.add_embedding_length(config.hidden_size)
        writer.add_block_count(self.layers)
        inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None)
        writer.add_feed_forward_length(inner or 4 * config.hidden_size)
        writer.add_head_count(heads)
        writer.add_vocab_size(config.vocab_size)
        if self.arch == MODEL_ARCH.GPT2:
            writer.add_layer_norm_eps(config.layer_norm_epsilon)
            return
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
        writer.add_rope_freq_base(_rope(config)["rope_theta"])
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        if self.arch in (MODEL_ARCH.LLAMA, MODEL_ARCH.PHI3):
            turned = _rope(config).get("partial_rotary_factor", 1.0)
            writer.add_rope_dimension_count(int(head_dim * turned))
        windowed = self.arch in (MODEL_ARCH.GEMMA2, MODEL_ARCH.GEMMA3, MODEL_ARCH.PHI3)
        if windowed and config.sliding_window:
            writer.add_sliding_window(config.sliding_window)
        if self.arch == MODEL_ARCH.GEMMA2:
            writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
            writer.add_final_logit_softcapping(config.final_logit_softcapping)
        if self.arch == MODEL_ARCH.QWEN3MOE:
            writer.add_expert_count(config.num_experts)
            writer.add_expert_used_count(config.num_experts_per_tok)
            writer.add_expert_feed_forward_length(config.moe_intermediate_size)


def gguf_model(
    shape: ModelShape, architecture: Mapping[str, Any] | None, origin: Path
) -> GgufModel:
    """Of a model of ours, or of one of transformers. Raises WeightsError where there is none, or
    where llama.cpp computes something else."""
    # Ours, dense or a mixture, is one of transformers' in its fields.
    kind = "qwen3_moe" if shape.num_experts else "qwen3"
    given = dict(architecture or {"model_type": kind, **qwen3_fields(shape)})
    kind = str(given["model_type"])
    if kind not in _MODELS:
        raise WeightsError(
            "{origin}: a {kind} model cannot be written as GGUF here (but {known}); write a "
            "folder, and convert that with llama.cpp's convert_hf_to_gguf.py",
            origin=origin,
            kind=kind,
            known=[*_MODELS],
        )
    config = transformers_config(given)
    if other := _computed_otherwise(kind, config):
        raise WeightsError(
            "{origin}: llama.cpp computes a {kind} model without {other}; write a folder instead",
            origin=origin,
            kind=kind,
            other=other,
        )
    arch, fit = _MODELS[kind]
    return GgufModel(arch, config, fit)


def _computed_otherwise(kind: str, config: Any) -> str:
    """The first key that changes what this model computes and llama.cpp does not honour."""
    head_dim = getattr(config, "head_dim", None)
    gemma = kind in ("gemma2", "gemma3_text")
    local = (getattr(config, "rope_parameters", None) or {}).get("sliding_attention", {})
    layers = getattr(config, "layer_types", None) or []
    every = {"gemma2": 2, "gemma3_text": 6}.get(kind, 0)
    wanted = [
        "full_attention" if every and at % every == every - 1 else "sliding_attention"
        for at in range(len(layers))
    ]
    found = {
        "rope scaling": _rope(config).get("rope_type", "default") != "default",
        _GEMMA_SCALE_KEY: gemma and getattr(config, _GEMMA_SCALE_KEY) != head_dim,
        "this order of layer_types": gemma and layers != wanted,
        "a rope_theta of its own for windows": local.get("rope_theta", _LOCAL_THETA) != _LOCAL_THETA
        and kind == "gemma3_text",
        "sliding_window": not gemma
        and kind != "phi3"
        and _windowed(config, layers)
        and config.sliding_window < config.max_position_embeddings,
        "attn_logit_softcapping": kind == "gemma2" and config.attn_logit_softcapping is None,
        "final_logit_softcapping": kind == "gemma3_text"
        and config.final_logit_softcapping is not None,
        "activation": getattr(config, "activation_function", "gelu_new") != "gelu_new",
        "scale_attn_by_inverse_layer_idx": getattr(
            config, "scale_attn_by_inverse_layer_idx", False
        ),
        "dense layers among its experts": kind == "qwen3_moe"
        and (bool(config.mlp_only_layers) or config.decoder_sparse_step != 1),
        "norm_topk_prob": kind == "qwen3_moe" and not config.norm_topk_prob,
    }
    return next((key for key, is_so in found.items() if is_so), "")


def _windowed(config: Any, layers: list[str]) -> bool:
    if not getattr(config, "sliding_window", None):
        return False
    if hasattr(config, "use_sliding_window"):
        return bool(config.use_sliding_window) and "sliding_attention" in layers
    return True


def _rope(config: Any) -> Mapping[str, Any]:
    """Where layers differ in it, that of those without a window."""
    found = getattr(config, "rope_parameters", None) or {}
    return found.get("full_attention", found)


def _as_it_is(name: str, tensor: Tensor, config: Any) -> Tensor:
    del name, config
    return tensor


def _pairs_beside(name: str, tensor: Tensor, config: Any) -> Tensor:
    """llama.cpp turns neighbours in a head, transformers its halves."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    count = heads.get(name.split(".")[-2])
    if count is None:
        return tensor
    halves = tensor.view(count, 2, tensor.shape[0] // count // 2, *tensor.shape[1:])
    return halves.transpose(1, 2).reshape(tensor.shape)


def _norms_from_one(name: str, tensor: Tensor, config: Any) -> Tensor:
    """Gemma stores how far its norms are from 1."""
    del config
    return tensor + 1 if name.endswith("norm.weight") else tensor


def _upright(name: str, tensor: Tensor, config: Any) -> Tensor:
    """GPT-2's matrices, which transformers stores the other way round."""
    del config
    turned = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")
    return tensor.T.contiguous() if name.endswith(turned) else tensor


_MODELS: Mapping[str, tuple[MODEL_ARCH, Fit]] = {
    "llama": (MODEL_ARCH.LLAMA, _pairs_beside),
    "mistral": (MODEL_ARCH.LLAMA, _pairs_beside),
    "qwen2": (MODEL_ARCH.QWEN2, _as_it_is),
    "qwen3": (MODEL_ARCH.QWEN3, _as_it_is),
    "qwen3_moe": (MODEL_ARCH.QWEN3MOE, _as_it_is),
    "gemma2": (MODEL_ARCH.GEMMA2, _norms_from_one),
    "gemma3_text": (MODEL_ARCH.GEMMA3, _norms_from_one),
    "olmo2": (MODEL_ARCH.OLMO2, _as_it_is),
    "phi3": (MODEL_ARCH.PHI3, _as_it_is),
    "gpt2": (MODEL_ARCH.GPT2, _upright),
}
"""By transformers' model_type."""


def _experts_apart(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Gate and up projection of the experts, which stand in one tensor, as two."""
    apart: dict[str, Tensor] = {}
    for name, tensor in found.items():
        block, _, kind = name.rpartition(".")
        if block.endswith(".mlp.experts") and kind == "gate_up_proj":
            apart[f"{block}.gate_proj"], apart[f"{block}.up_proj"] = tensor.chunk(2, dim=1)
        else:
            apart[name] = tensor
    return apart


if __name__ == "__main__":
    demo = gguf_model(ModelShape(64, 32, 2, 4, 2, 8, 64), None, Path("x"))
    named = demo.tensors({"model.layers.1.self_attn.q_proj.weight": torch.zeros(32, 32)})
    print(demo.name, *named)
    assert [*named] == ["blk.1.attn_q.weight"]
    print("=== 自测通过 ===")
