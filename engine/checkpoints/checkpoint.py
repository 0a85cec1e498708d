"""Checkpoints: a complete resumable state, written to a staging folder and renamed into place.

`model.safetensors` holds the weights, `training.pt` optimisers, scaler and random states (read
back with `weights_only=True`), `state.json` counters and the checksums of all files. Where LoRA is
trained, `adapter/` holds the adapters as peft saves them, and the weights are the frozen ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lmm_tui.engine.checkpoints import checkpoint_files as files
from lmm_tui.engine.checkpoints.checkpoint_files import FORMAT, TRAINING, CheckpointError, Retention
from lmm_tui.engine.checkpoints.json_table import load_table
from lmm_tui.engine.model.adapters import Adapter
from lmm_tui.engine.run.checkpoint_names import checkpoint_name, list_checkpoints
from lmm_tui.guarded_files import kind_of, make_folder, name_for_library, replace_text

ADAPTER = "adapter"


@dataclass(frozen=True)
class CheckpointState:
    """`state.json`: the counters of training."""

    step: int
    tokens: int
    tokenizer: str
    """Fingerprint of the tokenizer that the weights were trained with."""
    loss: float | None = None
    val_loss: float | None = None
    val_step: int | None = None
    """The step at which `val_loss` was measured."""
    observer: dict[str, Any] = field(default_factory=dict)
    lr_scale: float = 1.0
    """Factor on the learning rate, lowered by rollbacks."""
    spent_s: float = 0.0
    """Of a run of `train.minutes`: the time that its steps took."""
    parts: int = 1
    """How many parts a micro-batch is split into, to fit into the memory."""
    format: int = FORMAT


@dataclass(frozen=True)
class Snapshot:
    """A copy of the state, on the CPU, that training does not change."""

    state: CheckpointState
    model: dict[str, Tensor]
    training: dict[str, Any]
    adapter: Adapter | None

    @classmethod
    def take(
        cls,
        state: CheckpointState,
        model: Mapping[str, Tensor],
        training: Mapping[str, Any],
        adapter: Adapter | None = None,
    ) -> Snapshot:
        """`training` holds nested dicts, lists and tuples of tensors and plain values."""
        if adapter is not None:
            adapter = Adapter(_copied(adapter.tensors), adapter.config)
        return cls(state, _copied(dict(model)), _copied(dict(training)), adapter)


def save(
    folder: Path, snapshot: Snapshot, retention: Retention, records: Sequence[Path] = ()
) -> Path:
    """Write one checkpoint and remove those that nothing keeps; `records` are made durable first.

    Raises CheckpointError where it cannot be written; the others are unchanged then.
    """
    target = folder / checkpoint_name(snapshot.state.step)
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_folder(folder, folder.parent)
        for record in filter(Path.exists, records):
            files.fsync(record)
        staging = files.make_staging(target)
        _write(staging, snapshot)
        files.put_in_place(staging, target)
    except Exception as error:
        # On a full disk torch and safetensors raise errors of their own.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            "{target}: checkpoint not written ({reason}); those before it are intact",
            target=target,
            reason=reason,
        ) from error
    with suppress(OSError):  # Tried again after the next checkpoint.
        files.prune(folder, retention)
    return target


def load(
    path: Path, device: torch.device
) -> tuple[CheckpointState, dict[str, Tensor], dict[str, Any]]:
    """State, model weights and training state of a checkpoint that `verify` has passed.

    Raises CheckpointError where it cannot be loaded all the same.
    """
    try:
        state = CheckpointState(**files.read_state(path))
        with name_for_library(path / "model.safetensors", path) as name:
            model = load_file(name, device=str(device))
        with name_for_library(path / TRAINING, path) as name:
            training = torch.load(name, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            "{path}: damaged checkpoint ({reason}); remove it to resume from the one before",
            path=path,
            reason=reason,
        ) from error
    return state, model, training


def read_adapter(path: Path, folder_name: str = ADAPTER) -> Adapter | None:
    """The adapter in a checkpoint, on the CPU; None where all weights are trained."""
    folder = path / folder_name
    if kind_of(folder, path) is None:
        return None
    try:
        config = load_table(folder / "adapter_config.json", path)
        with name_for_library(folder / "adapter_model.safetensors", path) as name:
            return Adapter(load_file(name), config)
    except Exception as error:
        raise CheckpointError(
            "{folder}: damaged adapter ({error}); remove {name} to use the one before",
            folder=folder,
            error=error,
            name=path.name,
        ) from error


def _write(staging: Path, snapshot: Snapshot) -> None:
    save_file(snapshot.model, staging / "model.safetensors", metadata={"format": "pt"})
    if adapter := snapshot.adapter:
        make_folder(staging / ADAPTER, staging)
        save_file(
            adapter.tensors, staging / ADAPTER / "adapter_model.safetensors", {"format": "pt"}
        )
        # peft's configuration holds a set.
        config = json.dumps(adapter.config, indent=1, ensure_ascii=False, default=sorted)
        replace_text(staging / ADAPTER / "adapter_config.json", config, staging)
    torch.save(snapshot.training, staging / TRAINING)
    files.seal(staging, asdict(snapshot.state))


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True).contiguous()
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value)
    return value


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        for step in (1, 2, 3):
            frozen = Snapshot.take(CheckpointState(step, step * 8, "x"), {"w": torch.ones(4)}, {})
            save(Path(place), frozen, Retention(last=2))
        print(load(list_checkpoints(Path(place))[-1], torch.device("cpu")))
    print("=== 自测通过 ===")
