"""`[[data.sources]]` as batches: shares, caps, and what to say of sources that run dry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Generic, TypeVar

from lmm_tui.data.batching.mixed_batches import MixedBatches, MixturePart
from lmm_tui.data.batching.mixture import Mixture
from lmm_tui.data.errors import DataError
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.sections.source_config import SourceConfig
from lmm_tui.message import Message

T = TypeVar("T", bound=tuple[Any, ...])


@dataclass(frozen=True)
class MixedData(Generic[T]):
    """Batches of a mixture, and what to warn of."""

    batches: MixedBatches[T]
    warnings: tuple[str, ...]


def source_names(sources: Sequence[SourceConfig]) -> list[str]:
    """A name for each source: its own, or one made from its path; no two are the same."""
    names: list[str] = []
    for source in sources:
        stem = PurePath(source.path.partition("#")[0]).name.split(".")[0]
        plain = "".join(char if char.isalnum() or char in "_-" else "-" for char in stem)
        name = source.name or plain.strip("-")[:40] or "source"
        at, free = 2, name
        while free in names:
            free, at = f"{name}-{at}", at + 1
        names.append(free)
    return names


def mix(config: RunConfig, parts: Sequence[MixturePart[T]]) -> MixedData[T]:
    """The configured sources, in this order. Raises DataError where the run needs more."""
    sources, train = config.data.sources, config.train
    most = [
        None if one.epochs is None else math.floor(one.epochs * part.blocks)
        for one, part in zip(sources, parts, strict=True)
    ]
    names = source_names(sources)
    for name, count, one in zip(names, most, sources, strict=True):
        if count == 0 and one.weight:
            raise DataError(
                "data.sources: {name} has not one sequence in {epochs:g} epochs; "
                "raise its epochs, or leave it out",
                name=name,
                epochs=one.epochs,
            )
    mixture = Mixture([one.weight for one in sources], most)
    batches = MixedBatches(parts, mixture, train.batch_size)
    a_step = train.batch_size * train.grad_accum
    steps = train.steps
    if train.epochs is not None:
        steps = math.ceil(train.epochs * batches.epoch / train.grad_accum)
    if mixture.total is not None and steps * a_step > mixture.total:
        raise DataError(
            "data.sources: all of them run dry after {total} steps, and the run "
            "has {steps}; raise their epochs, leave it out of one, or lower "
            "train.steps",
            total=mixture.total // a_step,
            steps=steps,
        )
    warnings = tuple(
        Message(
            "data.sources: {name} runs dry after step {step} ({epochs:g} epochs of it); the others "
            "share its part from there on",
            name=name,
            step=dry // a_step,
            epochs=one.epochs,
        )
        for name, one, dry in zip(names, sources, mixture.dry_after, strict=True)
        if dry is not None and dry < steps * a_step
    )
    return MixedData(batches, warnings)


def refuse_mixture(config: RunConfig) -> None:
    """Raise ConfigError in a stage that reads its sources as one."""
    sources = config.data.sources
    if len(sources) > 1 or any(one.epochs is not None for one in sources):
        raise ConfigError(
            "data.sources: weights and epochs are for pretrain, sft and distill; "
            "{stage} reads its sources as one: give data.source and data.more",
            stage=config.stage,
        )


if __name__ == "__main__":
    listed = [SourceConfig(path="a/code.parquet#content"), SourceConfig(path="b/code.jsonl")]
    print(source_names(listed))
    assert source_names(listed) == ["code", "code-2"]
    print("=== 自测通过 ===")
