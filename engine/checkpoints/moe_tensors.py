"""The experts of MiniMind's and Qwen3's mixtures: a tensor each in files, stacked in the model.

File: `…mlp.experts.3.gate_proj.weight`, `up_proj`, `down_proj`. Model: `…mlp.experts.gate_up_proj`
(E, 2F, D) and `…mlp.experts.down_proj` (E, D, F).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.model.architecture import moe_config

_EXPERT = re.compile(r"(.*\.mlp\.experts)\.(\d+)\.(gate|up|down)_proj\.weight")


def expert_count(names: Mapping[str, Tensor]) -> int:
    """How many experts a layer has by the names of its tensors; 0 where the model is dense."""
    return 1 + max(
        (int(match[2]) for name in names if (match := _EXPERT.fullmatch(name))), default=-1
    )


def stacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From a tensor for each expert to one of all. KeyError names one that is missing."""
    count = expert_count(tensors)
    found = {name: tensor for name, tensor in tensors.items() if not _EXPERT.fullmatch(name)}
    blocks = {match[1] for name in tensors if (match := _EXPERT.fullmatch(name))}
    for block in sorted(blocks):
        gate, up, down = (
            torch.stack(
                [tensors[f"{block}.{expert}.{kind}_proj.weight"] for expert in range(count)]
            )
            for kind in ("gate", "up", "down")
        )
        found[f"{block}.gate_up_proj"] = torch.cat([gate, up], dim=1)
        found[f"{block}.down_proj"] = down
    return found


def unstacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        block, _, kind = name.rpartition(".")
        if not block.endswith(".mlp.experts"):
            found[name] = tensor
            continue
        for expert, matrix in enumerate(tensor):
            parts = {"down": matrix}
            if kind == "gate_up_proj":
                parts = dict(zip(("gate", "up"), matrix.chunk(2), strict=True))
            for part, of in parts.items():
                found[f"{block}.{expert}.{part}_proj.weight"] = of.contiguous()
    return found


def minimind_shape(shape: ModelShape, architecture: Mapping[str, Any] | None) -> ModelShape | None:
    """The shape as MiniMind has it, dense or MoE; None where it has no such model."""
    if architecture is None:
        return shape
    if architecture.get("model_type") != "qwen3_moe":
        return None
    # By the name of the file, or that of transformers 5.
    architecture = {"num_experts": architecture.get("num_local_experts"), **architecture}
    theta = (architecture.get("rope_parameters") or {}).get("rope_theta", 1e4)
    found = ModelShape(
        shape.vocab_size,
        shape.hidden_size,
        shape.num_layers,
        shape.num_heads,
        shape.num_kv_heads,
        shape.head_dim,
        int(architecture["moe_intermediate_size"]),
        shape.max_positions,
        float(theta),
        float(architecture["rms_norm_eps"]),
        shape.tie_embeddings,
        int(architecture["num_experts"]),
        int(architecture["num_experts_per_tok"]),
    )
    free = {"intermediate_size", "router_aux_loss_coef", "router_loss_per_layer", "architectures"}
    free |= {"bos_token_id", "eos_token_id"}
    wanted = {name: value for name, value in moe_config(found).items() if name not in free}
    same = all(architecture.get(name) == value for name, value in wanted.items())
    return found if same else None


if __name__ == "__main__":
    made = {
        f"model.layers.0.mlp.experts.{expert}.{kind}_proj.weight": torch.randn(size)
        for expert in range(3)
        for kind, size in (("gate", (8, 4)), ("up", (8, 4)), ("down", (4, 8)))
    }
    again = unstacked(stacked(made))
    print(expert_count(made), {name: tuple(of.shape) for name, of in stacked(made).items()})
    assert again.keys() == made.keys() and all(torch.equal(again[n], made[n]) for n in made)
    print("=== 自测通过 ===")
