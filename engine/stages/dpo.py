"""Preference optimisation (DPO and others): of two answers, the chosen one is made more likely.

The log-probabilities under the reference are computed once, before the first step, and kept in
the run directory; or in every step, by a second model (`dpo.reference = "live"`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from lmm_tui.data.builtin.holdout import Split
from lmm_tui.data.chat.answers import pair_conversations, pair_texts
from lmm_tui.data.chat.preferences import read_pairs
from lmm_tui.data.preparation.prepare import Progress
from lmm_tui.data.text.dataset import Dataset
from lmm_tui.data.turns import Conversation, Pair
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.stages import reference_model
from lmm_tui.engine.stages.answer_batch import PairBatch
from lmm_tui.engine.stages.base import Losses, MicroBatch
from lmm_tui.engine.stages.chat_base import read_side
from lmm_tui.engine.stages.preference_base import PreferenceStage
from lmm_tui.engine.stages.preference_loss import (
    REFERENCE_FREE,
    Rewards,
    dpo_loss,
    implicit_rewards,
    reference_free_loss,
)
from lmm_tui.metrics.stages.dpo import DPO


class DpoStage(PreferenceStage):
    """`train.batch_size` counts pairs."""

    info = DPO
    laid_out_ahead = True

    def __init__(self, config: RunConfig, device: torch.device, progress: Progress) -> None:
        super().__init__(config, device, progress)
        self._settings = config.dpo
        self._reference: LanguageModel | None = None
        self.baselines = {} if config.dpo.loss in REFERENCE_FREE else {"ln 2": math.log(2)}

    def read(self, side: Split) -> Dataset[Pair]:
        return read_side(read_pairs, self._config.data, side)

    def conversations(self, row: Pair) -> Iterator[Conversation]:
        return pair_conversations(row)

    def texts(self, row: Pair) -> Iterator[str]:
        return pair_texts(row)

    def begin(self, model: LanguageModel, run_dir: RunDir, fresh: bool) -> None:
        if self._settings.loss in REFERENCE_FREE:
            return
        if self._settings.reference == "live":
            self._reference = reference_model.frozen_model(model, run_dir, fresh, self.ranks)
            return
        self.take_reference(model, run_dir, fresh, {"train": self._train, "val": self._val})

    def loss(self, model: LanguageModel, batch: MicroBatch) -> Losses:
        assert isinstance(batch, PairBatch)
        policy = batch.answer_log_probs(model)
        if self._settings.loss in REFERENCE_FREE:
            return self._reference_free(policy, batch)
        reference = batch.reference_WxB
        if reference is None:
            assert self._reference is not None
            with torch.no_grad():
                reference = batch.answer_log_probs(self._reference)
        settings = self._settings
        losses_B = dpo_loss(
            policy[0],
            policy[1],
            reference[0],
            reference[1],
            beta=settings.beta,
            label_smoothing=settings.label_smoothing,
            kind="ipo" if settings.loss == "ipo" else "sigmoid",
            chosen_lengths_B=batch.lengths_WxB[0],
            rejected_lengths_B=batch.lengths_WxB[1],
        )
        rewards = implicit_rewards(
            policy[0], policy[1], reference[0], reference[1], beta=settings.beta
        )
        return losses_B.sum(), _sums(rewards, policy)

    def _reference_free(self, policy: Tensor, batch: PairBatch) -> Losses:
        """ORPO and SimPO: of log-probabilities per token, which are the rewards, too."""
        settings = self._settings
        means = policy / batch.lengths_WxB
        losses_B = reference_free_loss(
            means[0],
            means[1],
            beta=settings.beta,
            gamma=settings.gamma,
            kind="orpo" if settings.loss == "orpo" else "simpo",
        )
        rewards = Rewards(*(settings.beta * means).detach())
        return losses_B.sum(), _sums(rewards, policy)


def _sums(rewards: Rewards, policy_2xB: Tensor) -> dict[str, Tensor]:
    chosen_logp, rejected_logp = policy_2xB.detach().sum(1)
    return {
        "dpo/margin": rewards.margin_B.sum(),
        "dpo/accuracy": rewards.accuracy_B.sum(),
        "dpo/chosen_reward": rewards.chosen_B.sum(),
        "dpo/rejected_reward": rewards.rejected_B.sum(),
        "dpo/chosen_logp": chosen_logp,
        "dpo/rejected_logp": rejected_logp,
    }


if __name__ == "__main__":
    import json
    import tempfile
    from pathlib import Path

    from lmm_tui.engine.config.resolve import resolve

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "pairs.jsonl")
        rows = ({"prompt": f"{n}?", "chosen": f"{n}", "rejected": "no"} for n in range(99))
        file.write_text("\n".join(map(json.dumps, rows)))
        few = {"stage": "dpo", "data.source": str(file), "model.vocab_size": 300}
        settings = resolve(assignments=few).completed()
        stage = DpoStage(settings, torch.device("cpu"), lambda *_: None)
    batch = stage.micro_batches(0)[0]
    print(stage.tokenizer.decode(batch.labels_BxT[0].clamp(0).tolist()), batch.weight)
    print("=== 自测通过 ===")
