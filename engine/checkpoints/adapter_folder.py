"""A folder of peft adapters: the model that it names, and whether its matrices fit that model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from lmm_tui.engine.checkpoints.hf_config import WeightsError
from lmm_tui.engine.checkpoints.hub_folder import cached_folder, is_hub_name
from lmm_tui.engine.model.adapters import Adapter

_PREFIX = "base_model.model."
_PAIRS = {
    ".lora_A.weight": ".lora_B.weight",
    ".lora_embedding_A": ".lora_embedding_B",
}
_NOT_PLAIN = (
    *("use_dora", "use_rslora", "rank_pattern", "alpha_pattern", "lora_bias", "modules_to_save"),
    "target_parameters",
)


def base_of(adapter: Adapter, path: Path) -> Path:
    """Where the model lies that the adapters in `path` were trained on. Raises WeightsError."""
    name = adapter.config.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise WeightsError(
            "{path}: adapter_config.json names no base_model_name_or_path; write "
            "the folder of the model there that the adapters were trained on",
            path=path,
        )
    places = (path / name, path.parent / name, Path(name).expanduser())
    base = next((place for place in places if place.is_dir() or place.is_file()), None)
    if base is None and is_hub_name(Path(name)):
        base = cached_folder(name)
    if base is None or base == path:
        raise WeightsError(
            "{path}: its model {name} is neither a path here, nor in the cache of the Hub; write "
            "the path of its folder into base_model_name_or_path of adapter_config.json",
            path=path,
            name=name,
        )
    return base


def check_fits(adapter: Adapter, shapes: Mapping[str, torch.Size], path: Path, base: Path) -> None:
    """Raise WeightsError unless the adapters in `path` are plain LoRA of matrices in `base`.

    `shapes` are those of the tensors of `base`, tied ones under each of their names.
    """
    config = adapter.config
    if config.get("peft_type") != "LORA":
        raise WeightsError(
            "{path}: adapters of type {kind}; only LoRA can be merged",
            path=path,
            kind=str(config.get("peft_type")),
        )
    if key := next((key for key in _NOT_PLAIN if config.get(key)), None):
        raise WeightsError(
            "{path}: adapter_config.json sets {key}; only plain LoRA can be merged, so merge it "
            "with peft (merge_and_unload) and give the folder of the whole model",
            path=path,
            key=key,
        )
    for key in ("r", "lora_alpha"):
        if not isinstance(config.get(key), int | float) or config[key] <= 0:
            raise WeightsError(
                "{path}: adapter_config.json: {key} should be a number above 0", path=path, key=key
            )
    for name, first in adapter.tensors.items():
        kind = next((kind for kind in _PAIRS if name.endswith(kind)), None)
        if kind is None:
            if name.endswith(tuple(_PAIRS.values())):
                continue
            raise WeightsError(
                "{path}: tensor {name} is no matrix of LoRA; only plain LoRA can be merged",
                path=path,
                name=name,
            )
        module = name.removeprefix(_PREFIX).removesuffix(kind)
        own = shapes.get(f"{module}.weight")
        if own is None:
            raise WeightsError(
                "{path}: adapters for {module}, which {base} does not have",
                path=path,
                module=module,
                base=base,
            )
        second = adapter.tensors.get(name.removesuffix(kind) + _PAIRS[kind])
        if second is None:
            raise WeightsError("{path}: {name} has no second matrix", path=path, name=name)
        size = (second.shape[0], first.shape[1])
        if sorted(size) != sorted(own) or first.shape[0] != second.shape[1]:
            raise WeightsError(
                "{path}: the adapter of {module} is {size}, the matrix in {base} {own}: it was "
                "trained on another model",
                path=path,
                module=module,
                size=str(size),
                base=base,
                own=str(tuple(own)),
            )


if __name__ == "__main__":
    pair = {".lora_A.weight": torch.zeros(2, 8), ".lora_B.weight": torch.zeros(4, 2)}
    demo = Adapter(
        {f"{_PREFIX}q{kind}": tensor for kind, tensor in pair.items()},
        {"peft_type": "LORA", "r": 2, "lora_alpha": 4},
    )
    check_fits(demo, {"q.weight": torch.Size((4, 8))}, Path("a"), Path("m"))
    try:
        check_fits(demo, {"q.weight": torch.Size((4, 9))}, Path("a"), Path("m"))
    except WeightsError as error:
        print(error)
    print("=== 自测通过 ===")
