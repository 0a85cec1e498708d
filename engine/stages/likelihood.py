"""What pretraining and SFT have in common: batches that stand before the training, next-token loss.

It knows neither files nor tokens: a stage feeds it, and says how a batch comes to the device.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

import torch

from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.model.loss import loss_sum
from lmm_tui.engine.stages.base import Losses, MicroBatch, Stage

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Indexed(Protocol[T_co]):
    """Micro-batches by number: `Batches` or `PackedBatches` of `data.batching`."""

    @property
    def epoch(self) -> float:
        """Micro-batches in an epoch."""

    def __len__(self) -> int:
        """Full ones in an epoch, at least one."""

    def get(self, index: int) -> T_co:
        """A pure function of `index`, from 0 without end."""


class LikelihoodStage(Stage, Generic[T]):
    """The loss is -log p of the counted labels."""

    def _feed(
        self, config: RunConfig, device: torch.device, train: Indexed[T], val: Indexed[T] | None
    ) -> None:
        self._grad_accum = config.train.grad_accum
        self._val_batches = config.log.val_batches
        self._device = device
        self._train, self._val = train, val
        self.steps_per_epoch = train.epoch / self._grad_accum

    @abstractmethod
    def _load(self, rows: T) -> MicroBatch:
        """A micro-batch on the device."""

    def micro_batches(self, step: int) -> list[MicroBatch]:
        first = step * self._grad_accum
        return [self._load(self._train.get(first + i)) for i in range(self._grad_accum)]

    def validation(self) -> Iterator[MicroBatch]:
        """The same held-out micro-batches every time."""
        if self._val is not None:
            for index in range(min(self._val_batches, len(self._val))):
                yield self._load(self._val.get(index))

    def loss(self, model: Decoder, batch: MicroBatch) -> Losses:
        return loss_sum(batch.hidden(model), model.head_weight, batch.labels_BxT), {}


if __name__ == "__main__":

    class Numbers:
        epoch = 3.5

        def __len__(self) -> int:
            return 3

        def get(self, index: int) -> int:
            return index

    class Demo(LikelihoodStage[int]):
        def __init__(self) -> None:
            self._feed(RunConfig(), torch.device("cpu"), Numbers(), Numbers())

        def _load(self, rows: int) -> MicroBatch:
            ids = torch.full((1, 2), rows)
            return MicroBatch(ids, ids, weight=2, tokens=2)

        def held_out(self, model: Decoder) -> dict[str, float]:
            return {}

    demo = Demo()
    print(demo.micro_batches(5)[0].ids_BxT, len([*demo.validation()]))
    assert demo.micro_batches(5)[0].ids_BxT.tolist() == [[5, 5]] and len([*demo.validation()]) == 3
    print("=== 自测通过 ===")
