"""Checkpoints: a complete resumable state, written aside, fsynced and renamed into place.

`model.safetensors` holds the weights, `training.pt` optimisers, scaler and random states
(read back with `weights_only=True`), `state.json` counters and what a person may want to know;
`adapter/` is there where LoRA is trained, as peft saves it, and the weights are what it stands on.
It knows no loop and no stage: it saves and loads what it is handed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.adapters import Adapter
from engine.rundir import checkpoint_name, list_checkpoints
from lmm_errors import LmmError

FORMAT = 1
ADAPTER = "adapter"


class CheckpointError(LmmError):
    """A checkpoint that is missing, damaged or of another model."""


@dataclass(frozen=True)
class CheckpointState:
    """`state.json`: where training stood."""

    step: int
    tokens: int
    tokenizer: str
    """Fingerprint of the vocabulary that the weights speak."""
    loss: float | None = None
    val_loss: float | None = None
    observer: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT


def save(
    folder: Path,
    state: CheckpointState,
    model: Mapping[str, Tensor],
    training: Mapping[str, Any],
    keep: int,
    adapter: Adapter | None = None,
) -> Path:
    """Write one checkpoint and remove all but the newest `keep`; raises OSError.

    `training` holds nested dicts and lists of tensors and plain values.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / checkpoint_name(state.step)
    aside = folder / f".writing-{target.name}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    _save_tensors(model, aside / "model.safetensors")
    if adapter is not None:
        (aside / ADAPTER).mkdir()
        _save_tensors(adapter.tensors, aside / ADAPTER / "adapter_model.safetensors")
        _write_json(adapter.config, aside / ADAPTER / "adapter_config.json")
    torch.save(dict(training), aside / "training.pt")
    _write_json(asdict(state), aside / "state.json")
    for path in [*aside.rglob("*"), aside]:
        _fsync(path)
    if target.exists():  # Asked for twice at one step: the state is the same.
        shutil.rmtree(target)
    aside.rename(target)
    _fsync(folder)
    for old in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def load(
    path: Path, device: torch.device
) -> tuple[CheckpointState, dict[str, Tensor], dict[str, Any]]:
    """State, model weights and training state; CheckpointError where it is not usable."""
    try:
        found = json.loads((path / "state.json").read_text(encoding="utf-8"))
        if found["format"] > FORMAT:
            raise CheckpointError(
                f"{path}: format {found['format']} is newer than this lmm-tui reads ({FORMAT}); "
                "upgrade lmm-tui"
            )
        state = CheckpointState(**found)
        model = load_file(path / "model.safetensors", device=str(device))
        training = torch.load(path / "training.pt", map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path}: damaged checkpoint ({reason}); remove it to resume from the one before"
        ) from error
    return state, model, training


def read_adapter(path: Path) -> Adapter | None:
    """The adapter in a checkpoint, on the CPU; None where all weights are trained."""
    folder = path / ADAPTER
    if not folder.is_dir():
        return None
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        return Adapter(load_file(folder / "adapter_model.safetensors"), config)
    except Exception as error:
        raise CheckpointError(
            f"{folder}: damaged adapter ({error}); remove {path.name} to use the one before"
        ) from error


def _save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, path, metadata={"format": "pt"})


def _write_json(content: Mapping[str, Any], path: Path) -> None:
    # peft's configuration holds a set.
    text = json.dumps(content, indent=1, ensure_ascii=False, default=sorted)
    path.write_text(text, encoding="utf-8")


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        weights = {"w": torch.arange(4.0)}
        for step in (1, 2, 3):
            save(Path(place), CheckpointState(step, step * 8, "x"), weights, {"rng": [1]}, keep=2)
        kept = list_checkpoints(Path(place))
        print([path.name for path in kept])
        loaded, tensors, extra = load(kept[-1], torch.device("cpu"))
        assert loaded.step == 3 and torch.equal(tensors["w"], weights["w"]) and extra["rng"] == [1]
    print("=== 自测通过 ===")
