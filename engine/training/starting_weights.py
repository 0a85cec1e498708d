"""Weights from elsewhere that a new run starts from (`start_from`): what the run takes over.

The run takes the shape and, unless another one is named, the tokenizer of the weights, writes both
into its own directory, and records its parent. Reading them is `engine.checkpoints.weights`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.checkpoints.architecture_file import write_architecture
from lmm_tui.engine.checkpoints.checked_weights import Weights
from lmm_tui.engine.checkpoints.weights import read_weights
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.config_file import to_toml
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.sections.model_config import ModelConfig
from lmm_tui.engine.run.find_run import run_or_path
from lmm_tui.engine.run.run import Run
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_dir_error import writing
from lmm_tui.message import Message

_NAMED = 3
"""Tokens that a sentence names at most."""
_MOST_OTHERS = 0.1
"""Share of a vocabulary that may be other tokens: reserved ones get names, the rest must stay."""


def adopt_starting_weights(run: Run, config: RunConfig, source: str) -> tuple[Weights, RunConfig]:
    """Read the weights that `source` names; returns them with the settings that follow from them.

    Raises ConfigError where no tokenizer fits, WeightsError as `read_weights`.
    """
    start = read_weights(run_or_path(source, config.runs_dir))
    _refuse_not_finite(start)
    tokenizer = run.run_dir.path / "tokenizer.json"
    notes = [*start.notes_as_language_model, *_copy_tokenizer(start, config, tokenizer)]
    for note in notes:
        run.events.write("alert", note, step=0, level="warning")
    config = config.model_copy(
        update={
            "model": ModelConfig.of_shape(start.shape, config.model.preset),
            "data": config.data.model_copy(update={"tokenizer": str(tokenizer)}),
            "start_from": str(start.origin),
        }
    ).completed()
    with writing(run.run_dir.path):
        write_architecture(run.run_dir.path, start.architecture)
    run.run_dir.write_config(to_toml(config))
    _record_parent(run, start.origin)
    return start, config


def _refuse_not_finite(start: Weights) -> None:
    for name, tensor in start.tensors.items():
        if tensor.numel() and not all(bound.isfinite() for bound in tensor.aminmax()):
            raise ConfigError(
                "{origin}: tensor {name} holds NaN or infinite numbers, from which nothing can be "
                "trained; take other weights, such as an earlier checkpoint",
                origin=start.origin,
                name=name,
            )


def _copy_tokenizer(start: Weights, config: RunConfig, target: Path) -> Iterator[Message]:
    """Write the tokenizer to `target`; gives sentences on what of it does not fit the model."""
    chosen = Path(config.data.tokenizer) if config.data.tokenizer else start.tokenizer
    if chosen is None:
        raise ConfigError(
            "data.tokenizer: {origin} has no tokenizer.json beside it; name the "
            "one that its model was trained with",
            origin=start.origin,
        )
    tokenizer, beyond = Tokenizer.load(chosen).within(start.shape.vocab_size)
    if tokenizer.vocab_size > start.shape.vocab_size:
        raise ConfigError(
            "data.tokenizer: {chosen} has {vocab_size} tokens, the model in "
            "{origin} only {shape_vocab_size}",
            chosen=chosen,
            vocab_size=tokenizer.vocab_size,
            origin=start.origin,
            shape_vocab_size=start.shape.vocab_size,
        )
    if beyond:
        yield Message(
            "{chosen}: {count} added tokens have no row in the model, and are left out: {tokens}",
            chosen=chosen,
            count=len(beyond),
            tokens=[*beyond[:_NAMED]],
        )
    if start.tokenizer is not None and chosen != start.tokenizer:
        yield from _other_vocabulary(tokenizer, chosen, start)
    with writing(target):
        tokenizer.save(target)


def _other_vocabulary(tokenizer: Tokenizer, chosen: Path, start: Weights) -> Iterator[Message]:
    """A sentence on ids that the model learnt as other tokens; ConfigError where they are many."""
    assert start.tokenizer is not None
    others = tokenizer.other_tokens(Tokenizer.load(start.tokenizer))
    if not others:
        return
    difference = Message(
        "{chosen}: {count} of its {size} ids are other tokens than those that {origin} was "
        "trained with (the first is {here!r}, there {there!r})",
        chosen=chosen,
        count=len(others),
        size=tokenizer.vocab_size,
        origin=start.origin,
        here=others[0][0],
        there=others[0][1],
    )
    if len(others) > _MOST_OTHERS * tokenizer.vocab_size:
        raise ConfigError(
            "data.tokenizer: {difference}; leave data.tokenizer out to take the model's own",
            difference=difference,
        )
    yield difference


def _record_parent(run: Run, origin: Path) -> None:
    """A checkpoint has a run as its parent; of other weights the path is recorded."""
    if not (origin / "state.json").is_file():
        run.describe(parent=str(origin), parent_checkpoint="", parent_stage="")
        return
    parent = origin.parent.parent
    run.describe(
        parent=parent.name,
        parent_checkpoint=origin.name,
        parent_stage=RunDir(parent).read_info().stage,
    )


if __name__ == "__main__":
    from types import SimpleNamespace
    from typing import Any

    run: Any = SimpleNamespace(describe=lambda **changes: print(changes))
    _record_parent(run, Path("tiny.pth"))
    print("=== 自测通过 ===")
