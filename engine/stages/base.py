"""The contract of a stage: it makes the data of each step and computes the loss of a model on them.

The loop knows stages by this contract only; a new stage is a file with a subclass of `Stage`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch
from pydantic import ValidationError, create_model
from torch import Tensor

from lmm_tui.data.preparation.prepare import Progress
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Turn
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.sections.section import Section
from lmm_tui.engine.config.validation_message import validation_message
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.model.layout import Counted, Segments
from lmm_tui.engine.parallel.ranks import ALONE, Ranks
from lmm_tui.engine.parallel.spread import Spread
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.message import Message
from lmm_tui.metrics.names import VAL_LOSS
from lmm_tui.metrics.stages.built_in import BUILT_IN
from lmm_tui.metrics.stages.stage_info import StageInfo
from lmm_tui.named_code import STAGE_GROUP, NamedCodeError, load

_DATA = "data"

SectionT = TypeVar("SectionT", bound=Section)
T = TypeVar("T")


@dataclass(frozen=True)
class MicroBatch:
    """The data of one forward and backward pass; tensors are int64 on the training device.

    Labels are already shifted, -100 is not counted. Where sequences are packed, `positions_BxT`
    count from 0 in each and `segments` are where they are. A micro-batch can be split into units:
    its rows, unless a subclass has something that must stay together, as the two answers of a pair.
    """

    unit: ClassVar[str] = Message("sequence")

    ids_BxT: Tensor
    labels_BxT: Tensor
    weight: int
    """How many counted labels, pairs or completions the loss is a sum over."""
    tokens: int
    """Tokens that the model reads: all but padding."""
    positions_BxT: Tensor | None = None
    segments: Segments | None = None
    counted: Counted | None = None
    """Where the counted labels are. Without it a loss asks the device, and the host waits."""

    def hidden(self, model: LanguageModel) -> Tensor:
        """The model's last hidden states, (B, T, D)."""
        return model.backbone(self.ids_BxT, positions=self.positions_BxT, segments=self.segments)

    @property
    def units(self) -> int:
        """Into how many parts it can be split at most."""
        return len(self.ids_BxT)

    def part(self, first: int, last: int) -> Self:
        """The units from `first` up to `last`; the losses of all parts add up to that of the whole.

        Weight and tokens of a part are its share of the whole, rounded, not counted again.
        """
        positions, segments, counted = self.positions_BxT, self.segments, self.counted
        width = self.ids_BxT.shape[1]
        return replace(
            self,
            ids_BxT=self.ids_BxT[first:last],
            labels_BxT=self.labels_BxT[first:last],
            positions_BxT=None if positions is None else positions[first:last],
            segments=None if segments is None else segments.part(first, last),
            counted=None if counted is None else counted.part(first, last, width),
            weight=round(self.weight * (last - first) / self.units),
            tokens=round(self.tokens * (last - first) / self.units),
        )


Losses = tuple[Tensor, dict[str, Tensor]]
"""The *sum* of the loss over a micro-batch, and further sums worth a curve, by metric name.

The loop divides both by the weight of the whole step, so that each unit counts the same, in
whatever micro-batch it is.
"""


class Stage(ABC):
    """Yields micro-batches and turns one into a loss.

    A subclass says in `info` what it is, and sets the rest, as far as it needs it, when it is made.
    """

    info: ClassVar[StageInfo]
    """Its name, words, metrics and chart."""
    tokenizer: Tokenizer
    baselines: dict[str, float]
    """Loss levels that help to read the curve, by name, in nats per token."""
    warnings: list[str]
    """Sentences for people, such as rows that were left out; the loop reports and clears them."""
    notes: tuple[str, ...] = ()
    """Sentences for people about what is read, for the start of the run."""
    prompts: tuple[str, ...]
    """Prompts of samples, unless the configuration has some."""
    is_chat = False
    """Whether the model answers prompts in the chat template, or continues them as text."""
    deterministic = True
    """Whether `micro_batches` of a past step can be called again and gives the same."""
    shapes_vary = True
    """Whether micro-batches have other shapes from step to step; each would be compiled anew."""
    laid_out_ahead = False
    """Whether `micro_batches` may be called in another thread before the step that goes before is
    done: where the data of a step don't depend on the model, and only the step is read."""
    recordable = False
    """Whether `loss` makes the same operations on the device for all micro-batches that are equal
    but for the numbers in their tensors: a step can be one CUDA graph then. A subclass with a
    `loss` of its own says so anew."""
    own_settings: type[Section] | None = None
    """The settings of a stage of one's own, for the form: what `settings` is called with."""
    steps_per_epoch: float
    """Optimiser steps in which the training data are seen once."""
    data_fingerprint = ""
    """Equal for the same training data in the same tokens."""
    cache_entries: tuple[Path, ...] = ()
    """The folders of its tokens in the cache, if they are kept there."""
    ranks: Ranks = ALONE
    """Who trains the run together; set once the stage is made."""
    spread: Spread | None = None
    """How the model stands on them; set after `begin`."""
    probe_sequence: list[int]
    """Tokens of validation data whose losses are shown one by one; none: there is no such text."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "loss" in vars(cls) and "recordable" not in vars(cls):
            cls.recordable = False

    def __init__(self, config: RunConfig, device: torch.device, progress: Progress) -> None:
        """Read the data; `progress` is told of what takes long. Raises LmmError.

        This one sets what a stage without data of its own can do with.
        """
        del progress
        self.config, self.device = config, device
        self.warnings, self.baselines, self.probe_sequence = [], {}, []
        self.steps_per_epoch = math.inf

    @classmethod
    def settings(cls, config: RunConfig, section: type[SectionT]) -> SectionT:
        """The table `[own]` of a configuration, as a section with the stage's own settings.

        Raises ConfigError.
        """
        whole = create_model("Own", own=(section, ...))
        try:
            found: SectionT = whole.model_validate({"own": config.own}).own  # type: ignore[attr-defined]
        except ValidationError as error:
            raise ConfigError(validation_message(error, None)) from None
        return found

    def begin(self, model: LanguageModel, run_dir: RunDir, fresh: bool) -> None:  # noqa: B027
        """Called once the model has its starting weights, and before a checkpoint is restored.

        `fresh` is False where one will be. Under the autocast of the steps.
        """

    @abstractmethod
    def micro_batches(self, step: int) -> list[MicroBatch]:
        """The data of optimiser step `step` (0-based): a pure function of (seed, step).

        Called under the autocast of the steps, for stages whose data come from the model.
        """

    @abstractmethod
    def loss(self, model: LanguageModel, batch: MicroBatch) -> Losses:
        """The differentiable loss, computed under the caller's autocast."""

    @abstractmethod
    def validate(self, model: LanguageModel) -> dict[str, float]:
        """Metrics on validation data by name, empty without such data; called under no_grad."""

    def whole(self, model: LanguageModel) -> AbstractContextManager[LanguageModel]:
        """All of `model`, which each rank may use by itself in the `with` block."""
        return nullcontext(model) if self.spread is None else self.spread.whole()

    def by_leader(self, model: LanguageModel, do: Callable[[LanguageModel], T]) -> T:
        """What rank 0 finds out with the whole of `model`, on all ranks; the others wait for it."""
        with self.whole(model) as whole:
            return self.ranks.by_leader(lambda: do(whole))

    def prompt_ids(self, text: str) -> list[int]:
        """The tokens of a sample's prompt."""
        return self.tokenizer.encode(text) or [self.tokenizer.eos_id]

    def turn_ids(self, turns: Sequence[Turn]) -> list[int]:
        """The tokens after which the model replies to a conversation."""
        return plain_ids(turns, self.tokenizer)

    @property
    def stop_ids(self) -> Collection[int]:
        """Tokens that end a sample or reply."""
        return (self.tokenizer.eos_id,)

    def state_dict(self) -> dict[str, Any]:
        """What a resume needs beyond (seed, step), in tensors and plain values."""
        return {_DATA: self.data_fingerprint}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`; warns where it was of other data."""
        if state.get(_DATA, self.data_fingerprint) != self.data_fingerprint:
            self.warnings.append(
                Message(
                    "data.source: the data are not those that this run was trained "
                    "on so far; steps continue on the new ones"
                )
            )


def plain_ids(turns: Sequence[Turn], tokenizer: Tokenizer) -> list[int]:
    """A conversation for a model without a chat template: the contents of its turns as one text."""
    return tokenizer.encode("".join(turn.content for turn in turns)) or [tokenizer.eos_id]


def unused_note(sources: Sequence[str], fields: Sequence[str]) -> str:
    """What to say of fields of rows that change nothing."""
    return Message(
        "fields of {sources} without effect: {fields}", sources=[*sources], fields=[*fields]
    )


def columns_notes(
    sources: Sequence[str], columns: Sequence[str], chosen: Sequence[str]
) -> tuple[str, ...]:
    """What to say of where text was read from; `chosen` are notes about files."""
    if not columns:
        return tuple(chosen)
    listed = ", ".join(columns)
    told = Message(
        "the text of {sources} is the column {columns}", sources=[*sources], columns=listed
    )
    return (*chosen, told)


def mean_losses(
    stage: Stage, model: LanguageModel, batches: Iterator[MicroBatch]
) -> dict[str, float]:
    """`val/loss`, and the means of the stage's other sums under `val/`, over `batches`.

    Added up in fp64: the same data give the same means to 1e-6, however they are batched. Several
    ranks share the batches.
    """
    ranks, totals, weight = stage.ranks, dict[str, float](), 0
    for group, batch in ranks.in_turn(batches):
        counts = ranks.rank < len(group)
        loss, sums = model(partial(stage.loss, batch=batch))
        named = {VAL_LOSS: loss} | {f"val/{name.rpartition('/')[2]}": sums[name] for name in sums}
        for name, value in named.items():
            totals[name] = totals.get(name, 0.0) + (float(value) if counts else 0.0)
        weight += sum(batch.weight for batch in group)
    if not ranks.is_alone:
        shares = ranks.gather(totals)
        totals = {name: math.fsum(share[name] for share in shares) for name in totals}
    return {name: total / weight for name, total in totals.items()}


def stage_class(name: str) -> type[Stage]:
    """Import the class of a stage: of this package, an installed one, or the user's own.

    Raises NamedCodeError.
    """
    place = f"lmm_tui.engine.stages.{name}:{name.capitalize()}Stage" if name in BUILT_IN else name
    found = load(place, STAGE_GROUP)
    if not (isinstance(found, type) and issubclass(found, Stage) and hasattr(found, "info")):
        raise NamedCodeError(
            "{name}: is no stage; give a subclass of Stage with an info", name=name
        )
    return found


def load_stage(config: RunConfig, device: torch.device, progress: Progress) -> Stage:
    """Import the configured stage and prepare its data."""
    return stage_class(config.stage)(config, device, progress)


if __name__ == "__main__":
    batch = MicroBatch(torch.zeros(2, 4, dtype=torch.long), torch.full((2, 4), -100), 0, 8)
    print(batch.ids_BxT.shape, batch.part(1, 2).ids_BxT.shape, Stage.__abstractmethods__)
    assert batch.units == 2 and batch.part(1, 2).tokens == 4
    print("=== 自测通过 ===")
