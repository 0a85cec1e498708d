"""The contract of a stage: data plus loss. The loop knows nothing of stages beyond this."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

import torch
from torch import Tensor

from data.prepare import Progress
from data.tokenizer import Tokenizer
from engine.config import RunConfig
from engine.model import Decoder

_CLASSES = {"pretrain": "engine.stages.pretrain:PretrainStage"}


@dataclass(frozen=True)
class MicroBatch:
    """What one forward and backward pass sees.

    `ids_BxT` and `labels_BxT` are int64 on the training device; labels are already shifted,
    -100 is not counted, and `n_tokens` is the number of counted labels.
    """

    ids_BxT: Tensor
    labels_BxT: Tensor
    n_tokens: int


class Stage(Protocol):
    """Yields micro-batches and turns one into a loss."""

    tokenizer: Tokenizer
    references: dict[str, float]
    """Loss levels that help to read the curve, nats per token."""
    bytes_per_token: float
    """Of the held-out text: turns nats per token into bits per byte."""

    notes: list[str]
    """What a person should know of the data, such as lines that were left out."""

    def micro_batches(self, step: int) -> list[MicroBatch]:
        """The data of optimiser step `step` (0-based): a pure function of (seed, step)."""

    def validation(self) -> Iterator[MicroBatch]:
        """The same held-out micro-batches every time."""

    def loss(self, model: Decoder, batch: MicroBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The *sum* of the loss over the counted labels, and further sums worth a curve.

        The loop divides both by the tokens of the whole step, so that unequal micro-batches
        weigh as they should.
        """


def load_stage(config: RunConfig, device: torch.device, progress: Progress) -> Stage:
    """Import the configured stage's file and prepare its data."""
    module, _, name = _CLASSES[config.stage].partition(":")
    stage: Stage = getattr(import_module(module), name)(config, device, progress)
    return stage


if __name__ == "__main__":
    batch = MicroBatch(torch.zeros(2, 4, dtype=torch.long), torch.full((2, 4), -100), 0)
    print(batch.ids_BxT.shape, list(_CLASSES))
    print("=== 自测通过 ===")
