"""Reads the weights of a model: our checkpoints, Hugging Face folders of Qwen3, MiniMind's `.pth`.

LoRA adapters in a checkpoint are merged. All three formats have the same tensor names; a model
that `Decoder` cannot represent is refused with the reason. Nothing but tensors is unpickled.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.checkpoints.checkpoint import read_adapter
from lmm_tui.engine.checkpoints.checkpoint_files import TRAINING, newest_intact, verify
from lmm_tui.engine.checkpoints.hf_config import (
    WeightsError,
    positive_number,
    shape_of_hf,
    unknown_keys,
    whole_number,
)
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.model.adapters import EMBEDDING, HEAD, merged
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.guarded_files import name_for_library, read_bytes
from lmm_tui.message import Message

log = logging.getLogger("engine")

SIDECAR_FIELDS = ("rope_theta", "rms_eps", "max_positions")

# DDP and torch.compile put these before names; MiniMind may save the rotary tables.
_WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)+")
_FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
_ROTARY_TABLES = re.compile(r"(.*\.)?(freqs_cos|freqs_sin|inv_freq)")


@dataclass(frozen=True)
class Weights:
    """fp32 tensors under Qwen3's names, and the tokenizer beside them if there is one."""

    shape: ModelShape
    tensors: dict[str, Tensor]
    tokenizer: Path | None
    origin: Path
    """The checkpoint, folder or file that was read."""
    merged: bool = False
    """Whether LoRA adapters were merged into the weights."""
    trained_template: str | None = None
    """`data.template` of the run, where it trained on conversations."""
    notes: tuple[str, ...] = ()
    """Sentences for people about what the source does not say, or says without effect."""

    def has_own_template(self, tokenizer: Tokenizer) -> bool:
        """Whether chats are in the template of its tokenizer, rather than in ChatML."""
        if self.trained_template is None:
            return tokenizer.settings.chat_template is not None
        return self.trained_template == "own"

    def noting(self, *notes: str) -> Weights:
        """The same with further notes."""
        return replace(self, notes=self.notes + notes)

    def decoder(self) -> Decoder:
        """A model with these weights, on the CPU."""
        model = Decoder(self.shape)
        model.load_state_dict(self.tensors)
        return model


def read_weights(path: Path) -> Weights:
    """Read `path`: a run (its newest checkpoint), a checkpoint, a HF folder, a `.pth`.

    Raises WeightsError or CheckpointError.
    """
    if path.suffix == ".pth":
        return _read_pth(path)
    if not path.is_dir():
        raise WeightsError(
            "{path}: no such run, checkpoint, Hugging Face folder or .pth file to start from",
            path=path,
        )
    run = RunDir(path)
    if run.exists():
        run.refuse_unsafe()
        found, damaged = newest_intact(run.checkpoints, without=[TRAINING])
        for error in damaged.values():
            if found is None:
                raise error
            log.warning("%s", error)
        if found is None:
            raise WeightsError("{path}: this run has no checkpoint yet", path=path)
        return _read_verified(found)
    if (path / "state.json").is_file():
        verify(path, without=[TRAINING])
        return _read_verified(path)
    if (path / "config.json").is_file():
        return _read_hf(path)
    raise WeightsError(
        "{path}: neither a run, nor a checkpoint, nor a Hugging Face folder (no config.json)",
        path=path,
    )


def infer_shape(tensors: Mapping[str, Tensor], rope_theta: float = 1e6) -> ModelShape:
    """Derive the shape from the tensors' names and sizes; WeightsError where that is impossible."""

    def size(name: str) -> tuple[int, int]:
        if name not in tensors:
            raise WeightsError(
                "tensor {name} is missing; a dense Qwen3 or MiniMind-3 model has it", name=name
            )
        return tensors[name].shape[0], tensors[name].shape[-1]

    layer = "model.layers.0."
    vocab_size, hidden_size = size(EMBEDDING)
    head_dim, _ = size(layer + "self_attn.q_norm.weight")
    layers = {
        int(match[1]) for name in tensors if (match := re.match(r"model\.layers\.(\d+)\.", name))
    }
    head = tensors.get(HEAD)
    return ModelShape(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_layers=len(layers),
        num_heads=size(layer + "self_attn.q_proj.weight")[0] // head_dim,
        num_kv_heads=size(layer + "self_attn.k_proj.weight")[0] // head_dim,
        head_dim=head_dim,
        intermediate_size=size(layer + "mlp.gate_proj.weight")[0],
        rope_theta=rope_theta,
        tie_embeddings=head is None or torch.equal(head, tensors[EMBEDDING]),
    )


def _read_verified(path: Path) -> Weights:
    run_dir = RunDir(path.parent.parent)
    run_dir.refuse_unsafe()
    config: RunConfig = resolve(run_dir.config)
    tensors = _load_safetensors([path / "model.safetensors"], path, inside=path)
    adapter = read_adapter(path)
    if adapter is not None:
        tensors = merged(tensors, adapter)
    shape = config.model.shape(tensors[EMBEDDING].shape[0])
    tokenizer = run_dir.path / "tokenizer.json"
    notes = []
    if adapter is not None and shape.tie_embeddings and HEAD in tensors:
        shape = replace(shape, tie_embeddings=False)
        notes.append(_untied_note(path))
    return replace(
        _checked(shape, tensors, tokenizer, path).noting(*notes),
        merged=adapter is not None,
        trained_template=None if config.reads_text else config.data.template,
    )


def _read_hf(path: Path) -> Weights:
    found = _load_json(path / "config.json")
    shape = shape_of_hf(found, path)
    index = path / "model.safetensors.index.json"
    if index.is_file():
        weight_map = _load_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not all(
            isinstance(name, str) for name in weight_map.values()
        ):
            raise WeightsError("{index}: has no weight_map from tensors to files", index=index)
        names = sorted(set(weight_map.values()))
        if any(Path(name).name != name for name in names):
            raise WeightsError("{index}: names files outside its folder", index=index)
    else:
        names = ["model.safetensors"]
    tensors, named = _renamed(_load_safetensors([path / name for name in names], path), path)
    weights = _checked(shape, tensors, path / "tokenizer.json", path).noting(*named)
    unknown = unknown_keys(found)
    return weights.noting(_unknown_note(path, unknown)) if unknown else weights


def _read_pth(path: Path) -> Weights:
    try:
        with name_for_library(path) as name:
            found = torch.load(name, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError("{path}: no such file", path=path) from None
    except Exception as error:
        # A pickle with code in it is refused by weights_only, and ends here too.
        reason = str(error).splitlines()[0]
        raise WeightsError(
            "{path}: not a file of plain weights ({reason})", path=path, reason=reason
        ) from None
    found = found.get("model", found) if isinstance(found, dict) else found
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise WeightsError("{path}: holds no table of tensors", path=path)
    tensors, named = _renamed(found, path)
    try:
        shape = infer_shape(tensors)
    except WeightsError as error:
        raise WeightsError("{path}: {error}", path=path, error=error) from None
    side = sidecar(path)
    if side.is_file():
        said = _load_json(side)
        shape = replace(shape, **_sidecar_fields(said, side))
    else:
        named = (*named, _assumed_note(path, shape))
    return _checked(shape, tensors, path.parent / "tokenizer.json", path).noting(*named)


def _renamed(found: dict[str, Tensor], path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors under our names, without those that we compute, and sentences about both."""
    computed = [name for name in found if _ROTARY_TABLES.fullmatch(name)]
    names = {name: _WRAPPERS.sub("", name) for name in found if name not in computed}
    tensors = {own: found[name] for name, own in names.items()}
    notes = []
    if renamed := [name for name, own in names.items() if name != own]:
        notes.append(_renamed_note(path, len(renamed), renamed[0], names[renamed[0]]))
    if computed:
        notes.append(_computed_note(path, computed))
    return tensors, tuple(notes)


def _dtype_note(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Empty where the format always has this type; WeightsError for other numbers than floats."""
    kinds = {str(tensor.dtype).removeprefix("torch."): tensor.dtype for tensor in tensors.values()}
    for name, kind in kinds.items():
        if kind not in _FLOATS:
            raise WeightsError(
                "{path}: holds {name} tensors; give weights in float32, bfloat16 or float16",
                path=path,
                name=name,
            )
    usual = {"float32", "float16"} if path.suffix == ".pth" else {"float32"}
    other = sorted(kinds.keys() - usual)
    return (
        Message(
            "{path}: weights are {other}, read as float32", path=path, other=" and ".join(other)
        )
        if other
        else ""
    )


def _sidecar_fields(said: dict[str, Any], side: Path) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: positive_number(said, name, side)
        for name in ("rope_theta", "rms_eps")
        if name in said
    }
    if "max_positions" in said:
        fields["max_positions"] = whole_number(said, "max_positions", 1 << 27, side)
    return fields


def _unknown_note(path: Path, keys: list[str]) -> str:
    return Message("{path}: keys of config.json without effect: {keys}", path=path, keys=[*keys])


def _renamed_note(path: Path, count: int, first: str, own: str) -> str:
    return Message(
        "{path}: {count} tensors renamed, the first: {first} is {own}",
        path=path,
        count=count,
        first=first,
        own=own,
    )


def _computed_note(path: Path, names: list[str]) -> str:
    return Message(
        "{path}: tensors without effect, computed anew: {names}", path=path, names=[*names]
    )


def _untied_note(path: Path) -> str:
    return Message(
        "{path}: has an adapter on the embedding or the head, which were one "
        "tensor; merged, they are two (tie_embeddings is false)",
        path=path,
    )


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


def _checked(
    shape: ModelShape, tensors: dict[str, Tensor], tokenizer: Path, origin: Path
) -> Weights:
    """The weights as fp32; WeightsError names the first tensor that does not fit a Decoder."""
    if shape.tie_embeddings:
        head = tensors.get(HEAD)
        if head is not None and not torch.equal(head, tensors.get(EMBEDDING, head)):
            raise WeightsError(
                "{origin}: the head is tied to the embedding, but {head} is "
                "there and differs; set tie_word_embeddings to false in "
                "config.json to use it",
                origin=origin,
                head=HEAD,
            )
        tensors = {name: tensor for name, tensor in tensors.items() if name != HEAD}
    with torch.device("meta"):
        wanted = Decoder(shape).state_dict()
    for name, tensor in wanted.items():
        if name not in tensors:
            raise WeightsError("{origin}: tensor {name} is missing", origin=origin, name=name)
        if tensors[name].shape != tensor.shape:
            raise WeightsError(
                "{origin}: tensor {name} is {shape}, the model's configuration says {shape2}",
                origin=origin,
                name=name,
                shape=tuple(tensors[name].shape),
                shape2=tuple(tensor.shape),
            )
    if extra := next((name for name in tensors if name not in wanted), None):
        raise WeightsError(
            "{origin}: tensor {extra} has no place in our decoder", origin=origin, extra=extra
        )
    note = _dtype_note(origin, tensors)
    fp32 = {name: tensor.float() for name, tensor in tensors.items()}
    weights = Weights(shape, fp32, tokenizer if tokenizer.is_file() else None, origin)
    return weights.noting(note) if note else weights


def _load_safetensors(
    files: list[Path], origin: Path, inside: Path | None = None
) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            with name_for_library(file, inside) as name:
                tensors |= load_file(name)
        except FileNotFoundError:
            raise WeightsError(
                "{origin}: {name} is missing", origin=origin, name=file.name
            ) from None
        except (OSError, SafetensorError) as error:
            raise WeightsError("{file}: damaged ({error})", file=file, error=error) from None
    return tensors


def _load_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_bytes(path))
    except (OSError, ValueError) as error:
        raise WeightsError("{path}: cannot be read ({error})", path=path, error=error) from None
    except RecursionError:
        raise WeightsError("{path}: cannot be read (nested too deeply)", path=path) from None
    if not isinstance(found, dict):
        raise WeightsError("{path}: is no table of settings", path=path)
    return found


if __name__ == "__main__":
    import tempfile

    tiny = Decoder(ModelShape(300, 32, 2, 4, 2, 8, 64))
    tiny.init_weights(0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tiny_32.pth"
        torch.save({name: tensor.half() for name, tensor in tiny.state_dict().items()}, file)
        weights = read_weights(file)
        print(weights.shape)
        assert weights.shape == tiny.shape
        try:
            read_weights(Path(folder))
        except WeightsError as error:
            print(str(error).removeprefix(folder))
    print("=== 自测通过 ===")
