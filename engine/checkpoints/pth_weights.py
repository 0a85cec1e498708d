"""Reads MiniMind's `.pth`: a table of tensors, dense or a mixture of experts, and nothing else.

What tensors do not show is in a JSON file beside it that we write, or MiniMind's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lmm_tui.engine.checkpoints.checked_weights import Weights, checked, renamed
from lmm_tui.engine.checkpoints.hf_config import WeightsError, positive_number, whole_number
from lmm_tui.engine.checkpoints.json_table import load_table
from lmm_tui.engine.checkpoints.moe_tensors import expert_count, stacked
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.model.decoder import EMBEDDING, HEAD
from lmm_tui.guarded_files import name_for_library
from lmm_tui.message import Message

SIDECAR_FIELDS = ("rope_theta", "rms_eps", "max_positions", "experts_per_token")
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
_MINIMIND_CHOOSES = 1
"""Experts that a token of MiniMind's MoE is sent to."""


def read_pth(path: Path) -> Weights:
    """The weights in a .pth file. Raises WeightsError."""
    try:
        with name_for_library(path) as name:
            found = torch.load(name, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError("{path}: no such file", path=path) from None
    except Exception as error:
        # A pickle with code in it is refused by weights_only, and ends here too.
        reason = code_in_pickle(error) or str(error).splitlines()[0]
        raise WeightsError(
            "{path}: not a file of plain weights ({reason})", path=path, reason=reason
        ) from None
    found = found.get("model", found) if isinstance(found, dict) else found
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise WeightsError("{path}: holds no table of tensors", path=path)
    tensors, named = renamed(found, path)
    experts = expert_count(tensors)
    if experts:
        try:
            tensors = stacked(tensors)
        except KeyError as error:
            raise WeightsError(
                "{path}: tensor {name} of a MoE is missing", path=path, name=error.args[0]
            ) from None
    try:
        shape = infer_shape(tensors)
    except WeightsError as error:
        raise WeightsError("{path}: {error}", path=path, error=error) from None
    if experts:
        shape = replace(shape, num_experts=experts, experts_per_token=_MINIMIND_CHOOSES)
    side = sidecar(path)
    if side.is_file():
        said = load_table(side)
        shape = replace(shape, **_sidecar_fields(said, side))
    else:
        named = (*named, _assumed_note(path, shape))
    return checked(shape, tensors, path.parent / "tokenizer.json", path).noting(*named)


_EXPERTS = "model.layers.0.mlp.experts.down_proj"


def infer_shape(tensors: Mapping[str, Tensor], rope_theta: float = 1e6) -> ModelShape:
    """Derive the shape from the tensors' names and sizes; WeightsError where that is impossible."""

    def size(name: str) -> tuple[int, int]:
        if name not in tensors:
            raise WeightsError(
                "tensor {name} is missing; a dense Qwen3 or MiniMind-3 model has it", name=name
            )
        if not tensors[name].dim() or not tensors[name].numel():
            raise WeightsError("tensor {name} holds no weights; choose another model", name=name)
        return tensors[name].shape[0], tensors[name].shape[-1]

    layer = "model.layers.0."
    vocab_size, hidden_size = size(EMBEDDING)
    head_dim, _ = size(layer + "self_attn.q_norm.weight")
    layers = {
        int(match[1])
        for name in tensors
        if (match := re.match(r"model\.layers\.(\d{1,9})\.", name))
    }
    head = tensors.get(HEAD)
    stack = tensors.get(_EXPERTS)
    if stack is not None and stack.dim() != 3:
        raise WeightsError("tensor {name} holds no experts; choose another model", name=_EXPERTS)
    inner = size(layer + "mlp.gate_proj.weight")[0] if stack is None else stack.shape[2]
    return ModelShape(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_layers=len(layers),
        num_heads=size(layer + "self_attn.q_proj.weight")[0] // head_dim,
        num_kv_heads=size(layer + "self_attn.k_proj.weight")[0] // head_dim,
        head_dim=head_dim,
        intermediate_size=inner,
        rope_theta=rope_theta,
        tie_embeddings=head is None or torch.equal(head, tensors[EMBEDDING]),
    )


def _sidecar_fields(said: dict[str, Any], side: Path) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: positive_number(said, name, side)
        for name in ("rope_theta", "rms_eps")
        if name in said
    }
    if "max_positions" in said:
        fields["max_positions"] = whole_number(said, "max_positions", 1 << 27, side)
    if said.get("experts_per_token"):
        fields["experts_per_token"] = whole_number(said, "experts_per_token", 256, side)
    return fields


def _assumed_note(path: Path, shape: ModelShape) -> str:
    return Message(
        "{path}: does not say rope_theta, rms_eps and the context length, and "
        "{name} is missing; taken as MiniMind's: {rope_theta:g}, {rms_eps:g}, "
        "{max_positions}",
        path=path,
        name=sidecar(path).name,
        rope_theta=shape.rope_theta,
        rms_eps=shape.rms_eps,
        max_positions=shape.max_positions,
    )


def sidecar(path: Path) -> Path:
    """The JSON file beside a .pth with the numbers of the shape that tensors do not show."""
    return path.with_name(f"{path.name}.json")


def code_in_pickle(error: Exception) -> str:
    """What torch did not unpickle, in a sentence without its advice to do so; empty otherwise."""
    text = str(error)
    if "Weights only load failed" not in text:
        return ""
    found = _GLOBAL.search(text)
    return Message(
        "it holds {name}, which could run code; give plain tensors, best as safetensors",
        name=found[1] if found else "more than tensors",
    )


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.model.decoder import Decoder

    tiny = Decoder(ModelShape(300, 32, 2, 4, 2, 8, 64))
    tiny.init_weights(0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tiny_32.pth"
        torch.save({name: tensor.half() for name, tensor in tiny.state_dict().items()}, file)
        weights = read_pth(file)
        print(weights.shape)
        assert weights.shape == tiny.shape
        try:
            read_pth(Path(folder) / "none.pth")
        except WeightsError as error:
            print(str(error).removeprefix(folder))
    print("=== 自测通过 ===")
