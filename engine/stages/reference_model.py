"""The reference of DPO and GRPO: the model as the run began, kept in the run directory.

A stage saves either the weights of the reference, or only its log-probabilities.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lmm_tui.engine.model.adapters import weights_of
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.parallel.ranks import Ranks
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import name_for_library, replacing

_FILE = "reference.safetensors"


def save_reference(run_dir: RunDir, tensors: dict[str, Tensor]) -> None:
    """Write what a resumed run needs of the reference."""
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with replacing(_path(run_dir), run_dir.path) as file:
        save_file(whole, file.name)


def load_reference(run_dir: RunDir) -> dict[str, Tensor]:
    """What `save_reference` wrote; LmmError where it cannot be read."""
    path = _path(run_dir)
    try:
        with name_for_library(path, run_dir.path) as name:
            return load_file(name)
    except (OSError, SafetensorError) as error:
        raise LmmError(
            "{path}: what the run began with cannot be read ({error}); start a new run",
            path=path,
            error=error,
        ) from None


def frozen_model(model: LanguageModel, run_dir: RunDir, fresh: bool, ranks: Ranks) -> LanguageModel:
    """A frozen copy of `model` as it is now or, unless `fresh`, as it was when the run began."""
    if fresh:
        ranks.by_leader(lambda: save_reference(run_dir, weights_of(model)))
    reference = model.blank()
    reference.load_state_dict(load_reference(run_dir))
    return reference.to(model.head_weight.device).requires_grad_(False).eval()


def _path(run_dir: RunDir) -> Path:
    return run_dir.path / _FILE


if __name__ == "__main__":
    import tempfile

    import torch

    with tempfile.TemporaryDirectory() as folder:
        save_reference(RunDir(folder), {"train": torch.zeros(3, 2)})
        print(load_reference(RunDir(folder)))
    print("=== 自测通过 ===")
