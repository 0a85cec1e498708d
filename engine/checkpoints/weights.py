"""Reads the weights of a model: our checkpoints, Hugging Face folders, GGUF, MiniMind's `.pth`.

LoRA adapters are merged. Dense Qwen3 and MiniMind become our decoder, all others the model that
transformers has for them (`engine.checkpoints.foreign_weights`). Nothing but tensors is unpickled.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lmm_tui.engine.checkpoints.adapter_folder import base_of, check_fits
from lmm_tui.engine.checkpoints.architecture_file import read_architecture
from lmm_tui.engine.checkpoints.checked_weights import Weights, blank_model, checked, renamed
from lmm_tui.engine.checkpoints.checkpoint import read_adapter
from lmm_tui.engine.checkpoints.checkpoint_files import TRAINING, newest_intact, verify
from lmm_tui.engine.checkpoints.hf_config import (
    ForeignArchitecture,
    WeightsError,
    shape_of_hf,
    unknown_keys,
)
from lmm_tui.engine.checkpoints.hub_folder import hub_folder, is_hub_name
from lmm_tui.engine.checkpoints.json_table import load_table
from lmm_tui.engine.checkpoints.pth_weights import read_pth
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.model.adapters import merged
from lmm_tui.engine.model.decoder import EMBEDDING
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.guarded_files import name_for_library
from lmm_tui.message import Message

log = logging.getLogger("engine")

REWARD_HEAD = "score.weight"
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def read_weights(path: Path) -> Weights:
    """Read `path`: a run (its newest checkpoint), a checkpoint, a HF folder, a `.pth`, GGUF, or
    the name of a model on the Hub.

    Raises WeightsError or CheckpointError.
    """
    if path.suffix == ".pth":
        return read_pth(path)
    if path.suffix == ".gguf" and path.is_file():
        return _read_foreign(path.parent, {}, path.name)
    if is_hub_name(path):
        return read_weights(hub_folder(str(path)))
    if not path.is_dir():
        raise WeightsError(
            "{path}: no such run, checkpoint, Hugging Face folder, .pth or .gguf "
            "file to start from",
            path=path,
        )
    if checkpoint := checkpoint_of(path):
        return _read_verified(checkpoint)
    if (path / "config.json").is_file():
        return _read_hf(path)
    if (path / "adapter_config.json").is_file():
        return _read_adapter_folder(path)
    raise WeightsError(
        "{path}: neither a run, nor a checkpoint, nor a Hugging Face folder (no config.json)",
        path=path,
    )


def checkpoint_of(path: Path) -> Path | None:
    """The checkpoint at `path`, or the newest intact one of the run there; None for others.

    Raises WeightsError or CheckpointError where there is none that can be read.
    """
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
        return found
    if (path / "state.json").is_file():
        verify(path, without=[TRAINING])
        return path
    return None


def _read_verified(path: Path) -> Weights:
    run_dir = RunDir(path.parent.parent)
    run_dir.refuse_unsafe()
    config: RunConfig = resolve(run_dir.config)
    tensors = _load_safetensors([path / "model.safetensors"], path, inside=path)
    reward_head = tensors.pop(REWARD_HEAD, None)
    adapter = read_adapter(path)
    architecture = read_architecture(run_dir.path)
    if architecture is None and EMBEDDING not in tensors:
        raise WeightsError("{path}: tensor {embedding} is missing", path=path, embedding=EMBEDDING)
    if architecture is None and (not tensors[EMBEDDING].dim() or not tensors[EMBEDDING].numel()):
        raise WeightsError(
            "{path}: tensor {embedding} holds no weights", path=path, embedding=EMBEDDING
        )
    blank = blank_model(
        config.model.shape() if architecture else config.model.shape(len(tensors[EMBEDDING])),
        architecture,
        path,
    )
    shape, tied = blank.shape, adapter is not None and bool(blank.aliases)
    if adapter is not None:
        tensors = merged(tensors, adapter, blank.aliases)
    tokenizer = run_dir.path / "tokenizer.json"
    notes = []
    if tied and any(alias in tensors for alias in blank.aliases):
        shape = replace(shape, tie_embeddings=False)
        if architecture is not None:
            architecture["tie_word_embeddings"] = False
        notes.append(_untied_note(path))
    return replace(
        checked(shape, tensors, tokenizer, path, architecture).noting(*notes),
        merged=adapter is not None,
        reward_head=reward_head,
        trained_template=None if config.reads_text else config.data.template,
        trained_precision=config.train.precision,
        trained_device=config.device,
    )


def _read_hf(path: Path) -> Weights:
    found = load_table(path / "config.json")
    try:
        shape = shape_of_hf(found, path)
    except ForeignArchitecture:
        return _read_foreign(path, found)
    index = path / "model.safetensors.index.json"
    in_safetensors = index.is_file() or (path / "model.safetensors").is_file()
    if not in_safetensors and any((path / name).is_file() for name in _PICKLED):
        return _read_foreign(path, found)
    if index.is_file():
        weight_map = load_table(index).get("weight_map")
        if not isinstance(weight_map, dict) or not all(
            isinstance(name, str) for name in weight_map.values()
        ):
            raise WeightsError("{index}: has no weight_map from tensors to files", index=index)
        names = sorted(set(weight_map.values()))
        if any(Path(name).name != name for name in names):
            raise WeightsError("{index}: names files outside its folder", index=index)
    else:
        names = ["model.safetensors"]
    tensors, named = renamed(_load_safetensors([path / name for name in names], path), path)
    weights = checked(shape, tensors, path / "tokenizer.json", path).noting(*named)
    unknown = unknown_keys(found)
    return weights.noting(_unknown_note(path, unknown)) if unknown else weights


def _read_foreign(path: Path, config: Mapping[str, Any], gguf: str | None = None) -> Weights:
    # transformers takes more than a second to import.
    from lmm_tui.engine.checkpoints.foreign_weights import read_foreign

    found = read_foreign(path, config, gguf)
    return Weights(
        found.model.shape,
        found.tensors,
        found.tokenizer,
        path / gguf if gguf else path,
        notes=found.notes,
        architecture=found.architecture,
        kept=found.kept,
    )


def _read_adapter_folder(path: Path) -> Weights:
    """peft's adapters, merged into the model that they name."""
    if not (path / "adapter_model.safetensors").is_file():
        raise WeightsError(
            "{path}: adapter_model.safetensors is missing; adapters in another format are not read",
            path=path,
        )
    adapter = read_adapter(path.parent, path.name)
    assert adapter is not None
    base = base_of(adapter, path)
    weights = read_weights(base)
    blank = blank_model(weights.shape, weights.architecture, base)
    shapes = {name: tensor.shape for name, tensor in weights.tensors.items()}
    shapes |= {alias: shapes[name] for alias, name in blank.aliases.items()}
    check_fits(adapter, shapes, path, base)
    tensors = merged(weights.tensors, adapter, blank.aliases)
    shape, architecture = weights.shape, weights.architecture
    if any(alias in tensors for alias in blank.aliases):
        shape = replace(shape, tie_embeddings=False)
        if architecture is not None:
            architecture = {**architecture, "tie_word_embeddings": False}
    return replace(
        weights,
        shape=shape,
        tensors=tensors,
        architecture=architecture,
        tokenizer=path / "tokenizer.json"
        if (path / "tokenizer.json").is_file()
        else weights.tokenizer,
        origin=path,
        merged=True,
    )


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


def _unknown_note(path: Path, keys: list[str]) -> str:
    return Message("{path}: keys of config.json without effect: {keys}", path=path, keys=[*keys])


def _untied_note(path: Path) -> str:
    return Message(
        "{path}: has an adapter on the embedding or the head, which were one "
        "tensor; merged, they are two (tie_embeddings is false)",
        path=path,
    )


if __name__ == "__main__":
    import tempfile

    import torch

    from lmm_tui.engine.config.model_shape import ModelShape
    from lmm_tui.engine.model.architecture import build

    tiny = build(ModelShape(300, 32, 2, 4, 2, 8, 64), seed=0)
    with tempfile.TemporaryDirectory() as folder:
        torch.save(tiny.state_dict(), Path(folder) / "tiny_32.pth")
        print(read_weights(Path(folder) / "tiny_32.pth").shape)
        try:
            read_weights(Path(folder))
        except WeightsError as error:
            print(str(error).removeprefix(folder))
    print("=== 自测通过 ===")
