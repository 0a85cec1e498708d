"""Validation covers the same tokens and has the same value, however it is batched."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import MakeConfig, silent
from torch import Tensor

from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.stages.answer_batch import PairBatch
from lmm_tui.engine.stages.base import Stage, load_stage
from lmm_tui.engine.stages.dpo import DpoStage

CPU = torch.device("cpu")

MakeStage = Callable[[int], Stage]


def model_of(config: RunConfig, stage: Stage, seed: int) -> Decoder:
    model = Decoder(config.model.shape(stage.tokenizer.vocab_size))
    model.init_weights(seed)
    return model


@torch.no_grad()
def log_probs(model: Decoder, ids: Tensor) -> Tensor:
    """log p of each token after the first, in fp64 and without our loss."""
    logits = Decoder(model.shape).double()
    logits.load_state_dict(model.state_dict())
    return F.log_softmax(logits(ids[None])[0, :-1], -1).gather(1, ids[1:, None])[:, 0]


def maker(small: MakeConfig, **changes: Any) -> tuple[RunConfig, MakeStage]:
    config = small(log__val_batches=2, train__batch_size=1, data__val_fraction=0.2, **changes)

    @cache
    def make(batch_size: int) -> Stage:
        train = config.train.model_copy(update={"batch_size": batch_size})
        return load_stage(config.model_copy(update={"train": train}), CPU, silent)

    return config, make


@pytest.mark.parametrize("data", ["sft", "pretrain"])
def test_the_loss_of_text_does_not_depend_on_the_batch_size(
    small: MakeConfig, chats: str, data: str
) -> None:
    source = {"data__source": f"{chats}/chats.jsonl"} if data == "sft" else {}
    config, make = maker(small, stage=data, **source)
    model = model_of(config, make(1), seed=0)
    nll = torch.zeros((), dtype=torch.float64)
    count = 0
    for batch in make(1).validation_batches():  # type: ignore[attr-defined]
        segments = batch.segments and batch.segments.numbers_BxT
        for number in [0] if segments is None else range(1, int(segments.max()) + 1):
            one = slice(None) if segments is None else segments[0] == number
            labels = batch.labels_BxT[0, one]
            text = torch.cat([batch.ids_BxT[0, one], labels[-1:]])
            nll -= log_probs(model, text)[labels >= 0].sum()
            count += int((labels >= 0).sum())
    right = float(nll) / count
    with torch.no_grad():
        one = make(1).validate(model)

    @settings(deadline=None, max_examples=12)
    @given(st.integers(1, 80))
    def hold(batch_size: int) -> None:
        with torch.no_grad():
            found = make(batch_size).validate(model)
        assert found["val/loss"] == pytest.approx(right, abs=1e-6)
        assert found == pytest.approx(one, abs=1e-6)

    hold()


def test_the_loss_of_pairs_does_not_depend_on_the_batch_size(small: MakeConfig, chats: str) -> None:
    config, make = maker(small, stage="dpo", data__source=f"{chats}/pairs.jsonl")
    reference, policy = (model_of(config, make(1), seed) for seed in (0, 1))
    run_dir = RunDir(config.runs_dir)
    losses = []
    stage = make(1)
    assert isinstance(stage, DpoStage)
    stage.begin(reference, run_dir, fresh=True)
    for batch in stage.validation_batches():
        assert isinstance(batch, PairBatch)
        ratios = []
        for ids, counted in batch.answers[0]:
            learnt = torch.tensor(counted[1:])
            ours, theirs = (log_probs(it, torch.tensor(ids)) for it in (policy, reference))
            ratios.append((ours - theirs)[learnt].sum())
        losses.append(-F.logsigmoid(config.dpo.beta * (ratios[0] - ratios[1])))
    right = float(torch.stack(losses).mean())

    @settings(deadline=None, max_examples=8)
    @given(st.integers(1, 80))
    def hold(batch_size: int) -> None:
        stage = make(batch_size)
        stage.begin(reference, run_dir, fresh=True)
        with torch.no_grad():
            assert stage.validate(policy)["val/loss"] == pytest.approx(right, abs=1e-6)

    hold()


def test_a_validation_has_as_many_sequences_as_the_settings_say(small: MakeConfig) -> None:
    _, make = maker(small)
    for batch_size in (3, 16, 64):
        rows = [len(batch.ids_BxT) for batch in make(batch_size).validation_batches()]  # type: ignore[attr-defined]
        assert sum(rows) == 32 and max(rows) == min(batch_size, 32)
