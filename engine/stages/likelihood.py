"""What pretraining and SFT have in common: batches from a fixed data set, and next-token loss.

A subclass sets the batches and says how one of them becomes a micro-batch on the device.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

import torch

from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.model.loss import loss_sum
from lmm_tui.engine.stages.base import Losses, MicroBatch, Stage

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Indexed(Protocol[T_co]):
    """Batches by number: `Batches` or `PackedBatches` of `data.batching`."""

    @property
    def epoch(self) -> float:
        """Batches in an epoch."""

    def get(self, index: int) -> T_co:
        """A pure function of `index`, which has no upper limit: epochs follow one another."""

    def once(self, count: int) -> Iterator[T_co]:
        """At most `count` rows, each once, the same ones for any size of a batch."""


class LikelihoodStage(Stage, Generic[T]):
    """A stage whose loss is -log p of the counted labels."""

    def _set_batches(
        self, config: RunConfig, device: torch.device, train: Indexed[T], val: Indexed[T] | None
    ) -> None:
        self._grad_accum = config.train.grad_accum
        self._val_sequences = config.log.val_sequences
        self._device = device
        self._train, self._val = train, val
        self.steps_per_epoch = train.epoch / self._grad_accum

    @abstractmethod
    def _to_micro_batch(self, rows: T) -> MicroBatch:
        """A batch as a micro-batch on the device."""

    def micro_batches(self, step: int) -> list[MicroBatch]:
        first = step * self._grad_accum
        return [self._to_micro_batch(self._train.get(first + i)) for i in range(self._grad_accum)]

    def validation_batches(self) -> Iterator[MicroBatch]:
        """Validation data, the same every time; the tokens do not depend on `train.batch_size`."""
        if self._val is not None:
            yield from map(self._to_micro_batch, self._val.once(self._val_sequences))

    def loss(self, model: LanguageModel, batch: MicroBatch) -> Losses:
        return loss_sum(*model.projection(batch.hidden(model)), batch.labels_BxT, model.softcap), {}


if __name__ == "__main__":
    print("a stage of this kind adds", *sorted(LikelihoodStage.__abstractmethods__))
    print("=== 自测通过 ===")
