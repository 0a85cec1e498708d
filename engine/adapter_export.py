"""Writes the LoRA adapters of a run alone, as a folder that peft loads onto the model they are of.

The folder names that model by the path or name that the run started from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file

from lmm_tui.engine.checkpoints.checkpoint import read_adapter
from lmm_tui.engine.checkpoints.hf_config import WeightsError
from lmm_tui.engine.checkpoints.hub_folder import name_of_cached
from lmm_tui.engine.checkpoints.weights import checkpoint_of
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.guarded_files import SHARED, read_bytes, replace_text
from lmm_tui.message import Message

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


@dataclass(frozen=True)
class AdapterExport:
    checkpoint: Path
    parameters: int
    """Of the adapters alone."""
    notes: tuple[str, ...]


def export_adapter(source: Path, folder: Path) -> AdapterExport:
    """Write the adapters of the run or checkpoint `source` to the new folder `folder`.

    Raises WeightsError where there are none, where they are not all that was trained, and where
    no model is known that they belong to; CheckpointError for a damaged checkpoint.
    """
    checkpoint = checkpoint_of(source)
    adapter = read_adapter(checkpoint) if checkpoint is not None else None
    if checkpoint is None or adapter is None:
        raise WeightsError(
            "{source}: has no LoRA adapters; convert it without --adapter", source=source
        )
    run = RunDir(checkpoint.parent.parent)
    config = resolve(run.config)
    if config.stage == "reward":
        raise WeightsError(
            "{source}: is a reward model, whose head is no adapter; --merge writes both",
            source=source,
        )
    if config.start_from is None:
        raise WeightsError(
            "{source}: its adapters are of random weights that no folder holds; --merge writes "
            "both",
            source=source,
        )
    if folder.exists() or folder.suffix in (".pth", ".gguf"):
        raise WeightsError(
            "{folder}: --adapter writes a new folder; give another name", folder=folder
        )
    base = Path(config.start_from).expanduser().resolve()
    name = name_of_cached(base) or str(base)
    folder.mkdir(parents=True)
    save_file(adapter.tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    about = {**adapter.config, "base_model_name_or_path": name}
    replace_text(
        folder / "adapter_config.json", json.dumps(about, indent=1, default=sorted), mode=SHARED
    )
    for file in _TOKENIZER:
        if (run.path / file).is_file():
            text = read_bytes(run.path / file, run.path).decode("utf-8")
            replace_text(folder / file, text, mode=SHARED)
    parameters = sum(tensor.numel() for tensor in adapter.tensors.values())
    # peft's own way to the model reads a folder of transformers, or a name of the Hub.
    found = (base / "config.json").is_file()
    return AdapterExport(checkpoint, parameters, () if found else (_other_note(folder, name),))


def _other_note(folder: Path, name: str) -> str:
    return Message(
        "{folder}: its model is {name}, which peft does not find by itself; give peft the model, "
        "as `lmm-tui convert {name} FOLDER` writes it",
        folder=folder,
        name=name,
    )


if __name__ == "__main__":
    try:
        export_adapter(Path("nowhere"), Path("adapter"))
    except WeightsError as error:
        print(error)
    print("=== 自测通过 ===")
