"""Log-probabilities that a step compares its own with are measured in the precision of the step."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import MakeConfig, curve, of_stage, silent, train

from lmm_tui.engine.device import autocast
from lmm_tui.engine.generation import turns
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.stages.base import load_stage
from lmm_tui.engine.stages.completion_batch import CompletionBatch

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "changes",
    [
        {"train__batch_size": 1},
        {"train__batch_size": 5, "train__grad_accum": 3, "train__seed": 1},
        {"train__batch_size": 64, "dpo__reference": "live"},
        {"train__batch_size": 7, "lora__rank": 4},
        {"train__batch_size": 130},
    ],
    ids=str,
)
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_the_first_loss_of_dpo_is_ln_2(
    small: MakeConfig, chats: str, precision: str, changes: dict[str, Any]
) -> None:
    config = of_stage(small, chats, "dpo", train__precision=precision, train__steps=1, **changes)
    run_dir = train(config).run_dir
    assert curve(run_dir)[1] == pytest.approx(math.log(2), abs=1e-6)
    assert curve(run_dir, "dpo/margin")[1] == pytest.approx(0, abs=1e-6)


def test_the_first_ratio_of_a_round_is_1_in_low_precision(
    small: MakeConfig, chats: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clip range of nearly nothing, any other ratio would count as clipped."""
    judge = tmp_path / "judge.py"
    judge.write_text(
        "def f(prompt, completion, answer):\n    return sum(completion.encode()) % 7\n"
    )
    sampled_under: list[bool] = []
    real = turns._prefill

    def watched(*args: Any) -> Any:
        sampled_under.append(torch.is_autocast_enabled("cpu"))
        return real(*args)

    monkeypatch.setattr(turns, "_prefill", watched)
    config = of_stage(
        small,
        chats,
        "grpo",
        grpo__updates=2,
        grpo__clip_low=1e-6,
        grpo__clip_high=1e-6,
        grpo__rewards=[f"{judge}:f"],
        optim__lr=1e-2,
        train__precision="bf16",
        train__steps=4,
        log__val_every=0,
    )
    clipped = curve(train(config).run_dir, "grpo/clipped")
    assert clipped[1] == clipped[3] == 0 and clipped[2] > 0 < clipped[4]
    assert all(sampled_under)


@pytest.mark.parametrize("updates", [1, 2])
def test_the_log_p_gap_is_that_between_rollout_and_trainer(
    small: MakeConfig, chats: str, updates: int
) -> None:
    config = of_stage(small, chats, "grpo", grpo__updates=updates, grpo__temperature=0.7)
    stage = load_stage(config, CPU, silent)
    model = Decoder(config.model.shape(stage.tokenizer.vocab_size))
    model.init_weights(0)
    model.model.embed_tokens.weight.data.mul_(5)
    stage.begin(model, RunDir(config.runs_dir), True)
    with autocast(CPU, "bf16"):
        [batch] = stage.micro_batches(0)
        _, sums = stage.loss(model, batch)
    assert isinstance(batch, CompletionBatch)
    gaps = []
    for row, (ids, counted) in zip(batch.sampled_log_p_AxT, batch.completions, strict=True):
        first = counted.index(True)
        with torch.no_grad(), autocast(CPU, "bf16"):
            log_p = (model(torch.tensor([ids]))[0].float() / 0.7).log_softmax(-1)
        own = [float(log_p[at - 1, ids[at]]) for at in range(first, len(ids))]
        gaps += [abs(a - b) for a, b in zip(own, row.tolist(), strict=False)]
    found = float(sums["grpo/logp_gap"]) / batch.weight
    # Both are differences of rounding, in other batches: equal in size, not to the digit.
    assert 0 < found < 0.05 and found == pytest.approx(sum(gaps) / len(gaps), rel=0.5, abs=1e-3)
