"""Reward models: a linear head of one output gives each answer a number, the better of two a higher
one (Bradley and Terry).

The head, `score.weight`, reads the hidden state of the last token, as the sequence classifiers of
transformers do; the language model's own head isn't used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lmm_tui.data.builtin.holdout import Split
from lmm_tui.data.chat.answers import pair_conversations, pair_texts, scored
from lmm_tui.data.chat.preferences import read_pairs
from lmm_tui.data.preparation.prepare import Progress
from lmm_tui.data.text.dataset import Dataset
from lmm_tui.data.turns import Conversation, Pair
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.stages.answer_batch import AnswerBatch
from lmm_tui.engine.stages.base import Losses, MicroBatch
from lmm_tui.engine.stages.chat_base import read_side
from lmm_tui.engine.stages.preference_base import PreferenceStage
from lmm_tui.engine.stages.preference_loss import Rewards, reward_loss
from lmm_tui.metrics.stages.reward import REWARD

_INITIAL_STD = 0.02
"""transformers' for new heads."""


class RewardStage(PreferenceStage):
    """`train.batch_size` counts pairs."""

    info = REWARD
    prompts = ()  # What it says is not trained.
    reads = staticmethod(scored)

    def __init__(self, config: RunConfig, device: torch.device, progress: Progress) -> None:
        super().__init__(config, device, progress)
        self.prompts, self.probe_sequence = (), []
        self.baselines = {"ln 2": math.log(2)}

    def read(self, side: Split) -> Dataset[Pair]:
        return read_side(read_pairs, self._config.data, side)

    def conversations(self, row: Pair) -> Iterator[Conversation]:
        return pair_conversations(row)

    def texts(self, row: Pair) -> Iterator[str]:
        return pair_texts(row)

    def begin(self, model: LanguageModel, run_dir: RunDir, fresh: bool) -> None:
        weight_VxD = model.head_weight
        generator = torch.Generator().manual_seed(self._config.train.seed)
        head = nn.Linear(weight_VxD.shape[1], 1, bias=False)
        nn.init.normal_(head.weight, std=_INITIAL_STD, generator=generator)
        model.score = head.to(weight_VxD.device)

    def loss(self, model: LanguageModel, batch: MicroBatch) -> Losses:
        assert isinstance(batch, AnswerBatch)
        hidden_NxD = batch.hidden(model)[batch.labels_BxT >= 0]
        rewards_N = rewards_of(hidden_NxD, model.get_parameter("score.weight"))
        # Each answer has one label; packing put them into another order.
        rewards_2B = torch.empty_like(rewards_N).index_copy(0, batch.answer_of_N, rewards_N)
        chosen_B, rejected_B = rewards_2B.chunk(2)
        settings = self._config.reward
        losses_B = reward_loss(chosen_B, rejected_B, margin=settings.margin, centre=settings.centre)
        rewards = Rewards(chosen_B.detach(), rejected_B.detach())
        return losses_B.sum(), {
            "reward/accuracy": rewards.accuracy_B.sum(),
            "reward/margin": rewards.margin_B.sum(),
            "reward/chosen": rewards.chosen_B.sum(),
            "reward/rejected": rewards.rejected_B.sum(),
        }


def rewards_of(hidden_NxD: Tensor, head_1xD: Tensor) -> Tensor:
    """(N,), in fp32 also under autocast: rewards are compared with one another."""
    return (hidden_NxD.float() * head_1xD.float()).sum(-1)


if __name__ == "__main__":
    import json
    import tempfile
    from pathlib import Path

    from lmm_tui.engine.config.resolve import resolve

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "pairs.jsonl")
        rows = ({"prompt": f"{n}?", "chosen": f"{n}", "rejected": "no"} for n in range(99))
        file.write_text("\n".join(map(json.dumps, rows)))
        few = {"stage": "reward", "data.source": str(file), "model.vocab_size": 300}
        settings = resolve(assignments=few).completed()
        stage = RewardStage(settings, torch.device("cpu"), lambda *_: None)
    batch = stage.micro_batches(0)[0]
    print(batch.weight, int((batch.labels_BxT >= 0).sum()))
    assert int((batch.labels_BxT >= 0).sum()) == 2 * batch.weight
    print("=== 自测通过 ===")
