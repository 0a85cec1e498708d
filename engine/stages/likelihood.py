"""What pretraining and SFT have in common: batches from a fixed data set, and next-token loss.

A subclass sets the batches and says how one of them becomes a micro-batch on the device.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Generic, Protocol, TypeVar

import torch

from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.model.loss import loss_sum
from lmm_tui.engine.stages.base import Losses, MicroBatch, Stage, mean_losses
from lmm_tui.metrics.names import VAL_LOSS

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Indexed(Protocol[T_co]):
    """Batches by number: those of `data.batching`."""

    def get(self, index: int) -> T_co:
        """A pure function of `index`, which has no upper limit: epochs follow one another."""


class Held(Protocol[T_co]):
    """Validation data."""

    def once(self, count: int) -> Iterator[T_co]:
        """At most `count` rows, each once, the same ones for any size of a batch."""


class LikelihoodStage(Stage, Generic[T]):
    """A stage whose loss is -log p of the counted labels."""

    laid_out_ahead = True

    def _set_batches(
        self,
        config: RunConfig,
        device: torch.device,
        train: Indexed[T],
        val: Held[T] | None,
        epoch: float,
    ) -> None:
        """`epoch` is how many batches there are in one, about."""
        self._grad_accum = config.train.grad_accum
        self._val_sequences = config.log.val_sequences
        self._device = device
        self._train, self._val = train, val
        self._val_parts: list[tuple[str, float, Held[T]]] = []
        self.steps_per_epoch = epoch / self._grad_accum

    def _set_validation_parts(self, parts: Sequence[tuple[str, float, Held[T]]]) -> None:
        """Validation data by source of a mixture: name, weight, batches."""
        self._val_parts = list(parts)

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

    def validation_losses(
        self, model: LanguageModel, stage: Stage | None = None
    ) -> dict[str, float]:
        """Means over the validation data, under the loss of `stage` where that is another one.

        Of a mixture, `val/<source>/loss` of each source, and all means with their weights.
        """
        stage = stage or self
        if not self._val_parts:
            return mean_losses(stage, model, self.validation_batches())
        means: dict[str, float] = {}
        share = max(1, self._val_sequences // len(self._val_parts))
        whole = sum(weight for _, weight, _ in self._val_parts)
        for name, weight, batches in self._val_parts:
            found = mean_losses(stage, model, map(self._to_micro_batch, batches.once(share)))
            means[f"val/{name}/loss"] = found[VAL_LOSS]
            for metric, value in found.items():
                part = weight / whole if whole else 1 / len(self._val_parts)
                means[metric] = means.get(metric, 0.0) + part * value
        return means

    def loss(self, model: LanguageModel, batch: MicroBatch) -> Losses:
        projection = model.projection(batch.hidden(model))
        return loss_sum(*projection, batch.labels_BxT, model.softcap, batch.counted), {}


if __name__ == "__main__":
    print("a stage of this kind adds", *sorted(LikelihoodStage.__abstractmethods__))
    print("=== 自测通过 ===")
