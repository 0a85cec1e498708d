"""Reward models: they learn, are read at the last token, and reward the answers of GRPO."""

from pathlib import Path

import pytest
import torch
from small_runs import MakeConfig, curve, lines, of_stage, train

from lmm_tui.data.chat.template import render
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Conversation, Turn
from lmm_tui.engine.checkpoints.hf_config import WeightsError
from lmm_tui.engine.convert import convert
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.stages.answer_batch import AnswerBatch
from lmm_tui.engine.stages.reward import RewardStage
from lmm_tui.engine.stages.reward_loading import load_rewards
from lmm_tui.engine.stages.rewards import RewardError, Sample


def sample(completion: str) -> Sample:
    return Sample("3 + 4?", completion, None, tokens=4, ended=True)


@pytest.mark.parametrize("changes", [{}, {"lora__rank": 4}], ids=["whole", "lora"])
def test_a_reward_model_from_training_to_grpo(
    small: MakeConfig, chats: str, tmp_path: Path, changes: dict[str, object]
) -> None:
    """Right answers have a "no" less than wrong ones: one token tells them apart."""
    changes = {"train__steps": 30, "optim__lr": 2e-2, "train__batch_size": 8} | changes
    config = of_stage(small, chats, "reward", name="judge", **changes)
    run_dir = train(config).run_dir
    assert curve(run_dir)[1] == pytest.approx(0.693, abs=0.05)
    assert curve(run_dir, "val/accuracy")[30] > 0.9
    assert curve(run_dir, "reward/margin")[30] > 1
    assert not [row for row in lines(run_dir.samples) if row["kind"] == "sample"]

    [ours] = load_rewards([str(run_dir.path)])
    good, bad = (ours.function(sample(said)) for said in ("7", "no 7"))
    assert good > bad + 0.5

    # As transformers' own class reads the exported folder, at its last token.
    from transformers import AutoModelForSequenceClassification

    convert(run_dir.path, tmp_path / "folder", merge=True)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "folder")
    words = Tokenizer.load(run_dir.path)
    for said, score in (("7", good), ("no 7", bad)):
        ids, _ = render(Conversation((Turn("user", "3 + 4?"), Turn("assistant", said))), words)
        assert model(torch.tensor([ids])).logits.item() == pytest.approx(score, abs=1e-5)
    [theirs] = load_rewards([str(tmp_path / "folder")])
    assert theirs.function(sample("7")) == pytest.approx(good, abs=1e-4)

    with pytest.raises(WeightsError, match="has no place for its head"):
        convert(run_dir.path, tmp_path / "judge.gguf", merge=True)
    asked = {"grpo__rewards": [str(run_dir.path)], "train__steps": 2}
    judged = train(of_stage(small, chats, "grpo", name="judged", **asked)).run_dir
    assert abs(curve(judged, "grpo/reward")[1]) > 0
    with pytest.raises(RewardError, match="is no reward model; name a run of the stage reward"):
        load_rewards([str(judged.path)])


def test_rewards_of_packed_answers_are_those_of_each_alone(
    small: MakeConfig, chats: str, tmp_path: Path
) -> None:
    config = of_stage(small, chats, "reward")
    stage = RewardStage(config, torch.device("cpu"), lambda *_: None)
    model = Decoder(config.model.shape(stage.tokenizer.vocab_size))
    model.init_weights(0)
    stage.begin(model, RunDir(tmp_path), fresh=True)
    [batch] = stage.micro_batches(0)
    assert isinstance(batch, AnswerBatch)
    alone = torch.stack(
        [
            torch.stack([model.score(model.backbone(torch.tensor([ids[:-1]])))[0, -1, 0]])
            for side in (0, 1)
            for ids, _ in (pair[side] for pair in batch.answers)
        ]
    ).view(2, -1)
    _, sums = stage.loss(model, batch)
    torch.testing.assert_close(sums["reward/chosen"], alone[0].sum())
    torch.testing.assert_close(sums["reward/margin"], (alone[0] - alone[1]).sum())
