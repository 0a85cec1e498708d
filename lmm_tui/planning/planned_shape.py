"""The shape of the model that a configuration trains, before its weights and data are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.checkpoints.architecture_file import read_architecture
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.find_run import run_or_path
from lmm_tui.engine.run.run_dir import RunDir


@dataclass(frozen=True)
class PlannedShape:
    shape: ModelShape
    architecture: Mapping[str, Any] | None = None
    """config.json of a model of transformers; None is our decoder."""


def planned_shape(config: RunConfig) -> PlannedShape:
    """From the settings, or from what the weights of `start_from` say of themselves.

    Imports torch for the latter. Raises LmmError.
    """
    if config.start_from is None:
        found = PlannedShape(config.model.shape(_vocabulary(config.data.tokenizer)))
    else:
        found = _of_weights(run_or_path(config.start_from, config.runs_dir))
    if config.data.seq_len > found.shape.max_positions:
        raise ConfigError(
            "data.seq_len: {seq_len} tokens do not fit into the model's context "
            "of {max_positions}; lower it",
            seq_len=config.data.seq_len,
            max_positions=found.shape.max_positions,
        )
    return found


def beside_shapes(config: RunConfig, shape: ModelShape) -> tuple[ModelShape, ...]:
    """Of the models that a stage reads beside the one it trains: a teacher, a reference."""
    if config.stage == "distill" and config.distill.teacher is not None:
        teacher = _of_weights(run_or_path(config.distill.teacher, config.runs_dir))
        return (teacher.shape,)
    keeps = {
        "dpo": config.dpo.reference == "live" and config.dpo.loss not in ("simpo", "orpo"),
        "grpo": config.grpo.beta > 0,
    }
    return (shape,) if keeps.get(config.stage) else ()


def _vocabulary(tokenizer: str | None) -> int | None:
    return Tokenizer.load(Path(tokenizer).expanduser()).vocab_size if tokenizer else None


def _of_weights(path: Path) -> PlannedShape:
    from lmm_tui.engine.checkpoints.hub_folder import is_hub_name

    if is_hub_name(path):
        raise ConfigError(
            "start_from: {name} is on the Hub; a plan downloads nothing: give the folder of the "
            "model, of which config.json is enough",
            name=path,
        )
    run = RunDir(path.parent.parent if (path / "state.json").is_file() else path)
    if run.exists():
        return _of_run(run)
    if (path / "config.json").is_file():
        return _of_config_json(path)
    from lmm_tui.engine.checkpoints.weights import read_weights

    weights = read_weights(path)
    return PlannedShape(weights.shape, weights.architecture)


def _of_run(run: RunDir) -> PlannedShape:
    run.refuse_unsafe()
    architecture = read_architecture(run.path)
    if architecture is not None:
        return _foreign(architecture)
    tokenizer = run.path / "tokenizer.json"
    size = Tokenizer.load(tokenizer).vocab_size if tokenizer.is_file() else None
    own: RunConfig = resolve(run.config)
    # A run that started from weights elsewhere has their vocabulary in its settings.
    return PlannedShape(own.model.shape(None if own.start_from else size))


def _of_config_json(path: Path) -> PlannedShape:
    from lmm_tui.engine.checkpoints.hf_config import ForeignArchitecture, shape_of_hf
    from lmm_tui.engine.checkpoints.json_table import load_table

    found = load_table(path / "config.json")
    try:
        return PlannedShape(shape_of_hf(found, path))
    except ForeignArchitecture:
        return _foreign(found)


def _foreign(architecture: Mapping[str, Any]) -> PlannedShape:
    from lmm_tui.engine.simulation.simulated_step import shape_of

    return PlannedShape(shape_of(architecture), architecture)


if __name__ == "__main__":
    print(planned_shape(RunConfig()))
    print("=== 自测通过 ===")
