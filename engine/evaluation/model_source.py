"""The model that a name stands for: a checkpoint of a run, or any folder or file.

Only names and folders are inspected; torch is not imported and no weights are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lmm_tui.engine.evaluation.job import EvaluateError
from lmm_tui.engine.run.checkpoint_names import checkpoint_step, list_checkpoints
from lmm_tui.engine.run.find_run import find_run, run_or_path
from lmm_tui.engine.run.run_dir import RunDir


@dataclass(frozen=True)
class EvaluatedModel:
    model: Path
    """A path for `engine.checkpoints.weights.read_weights`."""
    run: RunDir | None = None
    step: int | None = None
    """The step of a run's checkpoint; None for other models."""


def find_evaluated_model(name: str | None, runs_dir: Path) -> EvaluatedModel:
    """A run (its newest checkpoint), a checkpoint, a folder or a file; None is the newest run.

    Raises LmmError if it does not exist or holds no checkpoint.
    """
    path = None if name is None else run_or_path(name, runs_dir)
    if path is not None and (path / "state.json").is_file():
        return _checkpoint(path)
    if path is not None and path.exists() and not RunDir(path).exists():
        return EvaluatedModel(path)
    run = find_run(name, runs_dir)
    checkpoints = list_checkpoints(run.checkpoints)
    if not checkpoints:
        raise EvaluateError(
            "{path}: this run has no checkpoint yet; `lmm-tui send {name} "
            "checkpoint` makes one while it is live",
            path=run.path,
            name=run.name,
        )
    return _checkpoint(checkpoints[-1])


def _checkpoint(path: Path) -> EvaluatedModel:
    path = path.resolve()
    run = RunDir(path.parent.parent)
    return (
        EvaluatedModel(path, run, checkpoint_step(path)) if run.exists() else EvaluatedModel(path)
    )


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "config.json").touch()
        print(find_evaluated_model(scratch, Path(scratch)))
    print("=== 自测通过 ===")
