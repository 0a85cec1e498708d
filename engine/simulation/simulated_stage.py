"""The data and loss of a stage as far as memory goes: rows of full length, all labels counted.

No data are read: sizes follow from the settings.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.model.layout import ALL
from lmm_tui.engine.model.loss import loss_sum, token_log_probs
from lmm_tui.engine.simulation.storage_tracker import StorageTracker
from lmm_tui.engine.stages.base import Losses, MicroBatch


def rows_of(config: RunConfig) -> int:
    """Sequences of a micro-batch: two answers a pair in DPO, a group a prompt in GRPO."""
    rows = config.train.batch_size
    return rows * {"dpo": 2, "grpo": config.grpo.group}.get(config.stage, 1)


class SimulatedStage:
    """What `OptimizerStep` asks of a stage."""

    def __init__(self, config: RunConfig, tracker: StorageTracker, ranks: int) -> None:
        self._tracker, self._ranks = tracker, ranks
        self._shape = (rows_of(config), config.data.seq_len)
        # What a third micro-batch takes is what the second takes.
        self._count = min(config.train.grad_accum, 2)
        self.sent_before: list[int] = []
        """What the rank had sent before each micro-batch."""
        self._by_token = config.stage in ("dpo", "grpo")

    laid_out_ahead = False

    def micro_batches(self, step: int) -> list[MicroBatch]:
        """Those of all ranks; this one takes its share."""
        del step
        count = self._count * self._ranks
        ids = [torch.zeros(self._shape, dtype=torch.long) for _ in range(count)]
        return [
            MicroBatch(each, each.clone(), each.numel(), each.numel(), counted=ALL) for each in ids
        ]

    def loss(self, model: LanguageModel, batch: MicroBatch) -> Losses:
        tracker = self._tracker
        self.sent_before.append(tracker.sent)
        tracker.begin("forward")
        with tracker.during("activations"):
            hidden, head = model.projection(batch.hidden(model))
        tracker.begin("loss")
        with tracker.during("loss"):
            found = self._loss(hidden, head, batch, model.softcap)
        tracker.begin("backward, head")
        tracker.phase = "temporary"
        return found, {}

    def _loss(
        self, hidden: Tensor, head: Tensor, batch: MicroBatch, softcap: float | None
    ) -> Tensor:
        labels, counted = batch.labels_BxT, batch.counted
        if self._by_token:
            found = token_log_probs(hidden, head, labels, softcap=softcap, counted=counted)
            return found.log_p_N.sum()
        return loss_sum(hidden, head, labels, softcap, counted)


if __name__ == "__main__":
    stage = SimulatedStage(RunConfig(stage="dpo"), StorageTracker(), 1)
    print(stage.micro_batches(0)[0].ids_BxT.shape)
    assert stage.micro_batches(0)[0].ids_BxT.shape == (32, 256)
    print("=== 自测通过 ===")
