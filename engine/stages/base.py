"""The contract of a stage: data plus loss. The loop knows nothing of stages beyond this."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from lmm_tui.data.preparation.prepare import Progress
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Turn
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.metrics.names import VAL_LOSS

_CLASSES = {
    "pretrain": "lmm_tui.engine.stages.pretrain:PretrainStage",
    "sft": "lmm_tui.engine.stages.sft:SftStage",
    "dpo": "lmm_tui.engine.stages.dpo:DpoStage",
    "grpo": "lmm_tui.engine.stages.grpo:GrpoStage",
    "distill": "lmm_tui.engine.stages.distill:DistillStage",
}


@dataclass(frozen=True)
class MicroBatch:
    """What one forward and backward pass sees; tensors are int64 on the training device.

    Labels are already shifted, -100 is not counted. Where sequences are packed, `positions_BxT`
    count from 0 in each and `segments_BxT` tell them apart. It can be cut into units, which are its
    rows, unless a stage knows of something that must stay together.
    """

    unit: ClassVar[str] = "sequence"

    ids_BxT: Tensor
    labels_BxT: Tensor
    weight: int
    """What the loss is a sum over: counted labels, pairs or answers."""
    tokens: int
    """Tokens that are read: all but padding."""
    positions_BxT: Tensor | None = None
    segments_BxT: Tensor | None = None

    def hidden(self, model: Decoder) -> Tensor:
        """The model's last hidden states, (B, T, D)."""
        return model.backbone(
            self.ids_BxT, positions=self.positions_BxT, segments_BxT=self.segments_BxT
        )

    @property
    def units(self) -> int:
        """Into how many parts it can be cut at most."""
        return len(self.ids_BxT)

    def part(self, first: int, last: int) -> Self:
        """The units from `first` up to `last`; the losses of all parts add up to that of the whole.

        The weight of a row is not counted again: it is the share of its batch, rounded.
        """

        def rows(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[first:last]

        return replace(
            self,
            ids_BxT=self.ids_BxT[first:last],
            labels_BxT=self.labels_BxT[first:last],
            positions_BxT=rows(self.positions_BxT),
            segments_BxT=rows(self.segments_BxT),
            weight=round(self.weight * (last - first) / self.units),
            tokens=round(self.tokens * (last - first) / self.units),
        )


Losses = tuple[Tensor, dict[str, Tensor]]
"""The *sum* of the loss over a micro-batch, and further sums worth a curve, by metric name.

The loop divides both by the weight of the whole step, so that unequal micro-batches weigh as they
should.
"""


class Stage(ABC):
    """Yields micro-batches and turns one into a loss."""

    tokenizer: Tokenizer
    references: dict[str, float]
    """Loss levels that help to read the curve, nats per token."""
    notes: list[str]
    """What a person should know and was not told yet, such as lines that were left out."""
    prompts: tuple[str, ...]
    """What samples are asked unless the configuration says."""
    answers = False
    """Whether what the model says is an answer, or goes on where the prompt ends."""
    repeatable = True
    """Whether the data of a step can be made again later, without consequences."""
    steps_per_epoch: float
    """Optimiser steps in which the training data are seen once."""
    specimen: list[int]
    """Held-out tokens whose losses are shown one by one."""

    def begin(self, model: Decoder, run_dir: RunDir, fresh: bool) -> None:  # noqa: B027
        """The model has the weights that it starts from; a checkpoint comes after this.

        `fresh` is False where the run goes on from a checkpoint.
        """

    @abstractmethod
    def micro_batches(self, step: int) -> list[MicroBatch]:
        """The data of optimiser step `step` (0-based): a pure function of (seed, step)."""

    @abstractmethod
    def loss(self, model: Decoder, batch: MicroBatch) -> Losses:
        """Differentiable, in the precision that the caller has set."""

    @abstractmethod
    def held_out(self, model: Decoder) -> dict[str, float]:
        """What the model is worth on held-out data, by metric name; no gradients are wanted."""

    def prompt_ids(self, text: str) -> list[int]:
        """What the model is to go on from, for a prompt of a sample."""
        return self.tokenizer.encode(text) or [self.tokenizer.eos_id]

    def turn_ids(self, turns: Sequence[Turn]) -> list[int]:
        """What the model is to go on from, after some turns of a talk."""
        return plain_ids(turns, self.tokenizer)

    @property
    def stop_ids(self) -> Collection[int]:
        """Tokens that end what the model says."""
        return (self.tokenizer.eos_id,)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs beyond (seed, step), in tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Go on from a `state_dict`."""


def plain_ids(turns: Sequence[Turn], tokenizer: Tokenizer) -> list[int]:
    """A talk with a model that knows no turns: one text, that goes on where the last one ends."""
    return tokenizer.encode("".join(turn.content for turn in turns)) or [tokenizer.eos_id]


def mean_losses(stage: Stage, model: Decoder, batches: Iterator[MicroBatch]) -> dict[str, float]:
    """`val/loss`, and the stage's other sums under `val/`, over some held-out micro-batches."""
    totals: dict[str, Tensor] = {}
    weight = 0
    for batch in batches:
        loss, sums = stage.loss(model, batch)
        named = {VAL_LOSS: loss} | {f"val/{name.rpartition('/')[2]}": sums[name] for name in sums}
        for name, value in named.items():
            totals[name] = totals[name] + value if name in totals else value
        weight += batch.weight
    return {name: float(total) / weight for name, total in totals.items()}


def load_stage(config: RunConfig, device: torch.device, progress: Progress) -> Stage:
    """Import the configured stage's file and prepare its data."""
    module, _, name = _CLASSES[config.stage].partition(":")
    stage: Stage = getattr(import_module(module), name)(config, device, progress)
    return stage


if __name__ == "__main__":
    batch = MicroBatch(torch.zeros(2, 4, dtype=torch.long), torch.full((2, 4), -100), 0, 8)
    print(batch.ids_BxT.shape, batch.part(1, 2).ids_BxT.shape, list(_CLASSES))
    assert batch.units == 2 and batch.part(1, 2).tokens == 4
    print("=== 自测通过 ===")
