"""Whole runs of models that are none of ours: each stage from a folder of transformers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from architectures import model_folder
from small_runs import MakeConfig, curve, of_stage, train

from lmm_tui.data.builtin.stories import story
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.checkpoints.weights import read_weights
from lmm_tui.engine.convert import convert

WORDS = Tokenizer.train([story(0, index) for index in range(40)], 400)
FIRST_LOSS = {"dpo": math.log(2), "kto": 0.5, "distill": 0.0}
"""Of a policy that is its reference, or its teacher."""


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    place = tmp_path / request.param
    model_folder(request.param, place, vocab_size=WORDS.vocab_size)
    WORDS.save(place)
    return str(place)


@pytest.mark.parametrize(
    ("folder", "stage"),
    [
        *(("llama", stage) for stage in ("dpo", "kto", "reward", "grpo", "distill")),
        ("llama", "dpo:simpo"),
        ("gpt2", "dpo:orpo"),
        ("gpt2", "grpo:rloo"),
        ("qwen3_moe", "kto"),
    ],
    indirect=["folder"],
)
def test_each_stage_runs_from_a_foreign_folder(
    small: MakeConfig, chats: str, folder: str, stage: str, tmp_path: Path
) -> None:
    changes: dict[str, object] = {"train__steps": 3, "start_from": folder, "lora__rank": 2}
    stage, _, loss = stage.partition(":")
    if loss:
        changes[f"{stage}__loss"] = loss
    if stage == "distill":
        changes["distill__teacher"] = folder
    if stage == "grpo":
        changes["grpo__rewards"] = ["length:4"]
    run_dir = train(of_stage(small, chats, stage, **changes)).run_dir
    losses = curve(run_dir)
    assert all(math.isfinite(loss) for loss in losses.values())
    if stage in FIRST_LOSS and not loss:
        assert losses[1] == pytest.approx(FIRST_LOSS[stage], abs=1e-5)
    convert(run_dir.path, tmp_path / "out", merge=True)
    if stage == "reward":
        return
    ids = torch.tensor([WORDS.encode(story(0, 90))[:20]])
    ours, back = read_weights(run_dir.path).model(), read_weights(tmp_path / "out").model()
    with torch.no_grad():
        torch.testing.assert_close(back(ids), ours(ids), atol=1e-5, rtol=1e-5)
