"""What the stages beyond pretraining promise: what is learnt, where it starts, how it resumes."""

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_runs import MakeConfig, curve, lines, of_stage, silent, stop_after, train
from torch.nn.functional import log_softmax

from lmm_tui.data.chat.preferences import read_pairs
from lmm_tui.data.chat.prompts import read_prompts
from lmm_tui.data.tokenizing.tokenizer import IM_END, Tokenizer
from lmm_tui.engine.checkpoints.hf_config import hf_config
from lmm_tui.engine.checkpoints.weights import WeightsError, read_weights
from lmm_tui.engine.convert import convert
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.run.checkpoint_names import list_checkpoints
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.stages.answer_batch import PairBatch
from lmm_tui.engine.stages.chat_base import read_side
from lmm_tui.engine.stages.dpo import DpoStage
from lmm_tui.engine.stages.rollout_batch import RolloutBatch, completion_batches
from lmm_tui.engine.stages.sft import SftStage
from lmm_tui.engine.training.run_host import EngineHost

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("stage", "changes", "a_step"),
    [
        ("dpo", {"train__grad_accum": 2}, 8),
        ("grpo", {"train__grad_accum": 2}, 8),
        ("grpo", {"grpo__updates": 2}, 2),
    ],
    ids=str,
)
def test_an_epoch_has_passed_once_all_examples_were_seen(
    small: MakeConfig, chats: str, stage: str, changes: dict[str, object], a_step: float
) -> None:
    config = of_stage(small, chats, stage, train__steps=2, train__batch_size=4, **changes)
    kept = read_side(read_pairs if stage == "dpo" else read_prompts, config.data, "train")
    examples = len(list(kept))
    assert 0 < examples < 64, "some are held out"
    epochs = curve(train(config).run_dir, "epoch")
    assert epochs == {step: pytest.approx(step * a_step / examples, abs=1e-6) for step in (1, 2)}


LORA = {"lora__rank": 4, "lora__dropout": 0.1}
ROUNDS = {"grpo__updates": 3, "grpo__beta": 0.1, "grpo__rewards": ["length:4", "format"]}


@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        ("sft", {}),
        ("sft", LORA),
        ("dpo", {}),
        ("dpo", LORA),
        ("dpo", {"dpo__reference": "live", "dpo__loss": "ipo"}),
        ("grpo", {"grpo__rewards": ["length:4"], "grpo__loss": "cispo"}),
        ("grpo", ROUNDS),
        ("grpo", ROUNDS | LORA | {"grpo__loss": "rloo"}),
    ],
    ids=str,
)
def test_a_resumed_run_goes_on_to_the_last_bit(
    small: MakeConfig, chats: str, stage: str, changes: dict[str, object]
) -> None:
    make = partial(of_stage, small, chats, stage, train__steps=8, **changes)
    whole = train(make(name="whole"))
    first = EngineHost(make(name="half", log__checkpoint_every=5))  # Between two samplings of 3.
    stop_after(first, 6)
    train(make(name="half"), first.run_dir)
    assert curve(whole.run_dir).keys() == set(range(1, 9))
    assert first.run_dir.read_info().resumed_steps == [5]
    for name in ("train/loss", "train/grad_norm", "val/loss", "val/reward", "grpo/reward"):
        assert curve(whole.run_dir, name) == curve(first.run_dir, name)


def test_sft_learns_what_the_assistant_says_and_how_it_ends(small: MakeConfig, chats: str) -> None:
    stage = SftStage(of_stage(small, chats, "sft"), CPU, silent)
    [batch] = stage.micro_batches(0)
    learnt = batch.labels_BxT[batch.labels_BxT >= 0].tolist()
    answers = stage.tokenizer.decode(learnt).split(IM_END)
    assert answers.pop() == ""
    assert all(answer.isdigit() for answer in answers)
    assert batch.weight == len(learnt)
    assert batch.tokens > 4 * batch.weight


def test_a_packed_conversation_costs_what_it_costs_alone(small: MakeConfig, chats: str) -> None:
    config = of_stage(small, chats, "sft")
    stage = SftStage(config, CPU, silent)
    model = Decoder(config.model.shape(stage.tokenizer.vocab_size))
    model.init_weights(0)
    [batch] = stage.micro_batches(0)
    alone = torch.zeros(())
    with torch.no_grad():
        together = stage.loss(model, batch)[0]
        for ids, labels, segments in zip(
            batch.ids_BxT, batch.labels_BxT, batch.segments.numbers_BxT, strict=True
        ):
            for segment in range(1, int(segments.max()) + 1):
                own = segments == segment
                log_p = log_softmax(model(ids[own].unsqueeze(0))[0], -1)
                counted = labels[own] >= 0
                alone -= log_p[counted, labels[own][counted]].sum()
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("reference", ["precomputed", "live"])
def test_dpo_starts_at_ln_2_and_prefers_the_chosen_answers(
    small: MakeConfig, chats: str, reference: str
) -> None:
    config = of_stage(
        small, chats, "dpo", dpo__reference=reference, train__steps=25, optim__lr=3e-3
    )
    host = train(config)
    losses = curve(host.run_dir)
    assert losses[1] == pytest.approx(math.log(2), abs=1e-5)
    assert losses[25] < 0.5
    assert curve(host.run_dir, "dpo/accuracy")[25] > 0.7
    assert curve(host.run_dir, "val/accuracy")[25] > 0.7
    assert curve(host.run_dir, "dpo/margin")[25] > 0 == curve(host.run_dir, "dpo/margin")[1]


def test_the_log_prob_of_an_answer_is_the_sum_over_its_tokens(
    small: MakeConfig, chats: str
) -> None:
    config = of_stage(small, chats, "dpo")
    stage = DpoStage(config, CPU, silent)
    model = Decoder(config.model.shape(stage.tokenizer.vocab_size))
    model.init_weights(0)
    stage.begin(model, RunDir(chats), fresh=True)
    [batch] = stage.micro_batches(0)
    assert isinstance(batch, PairBatch)
    pairs = stage._order.take(0, config.train.batch_size)
    for column, index in enumerate(pairs):
        for side, (ids, learnt) in enumerate(stage._train.items[index]):
            with torch.no_grad():
                log_p = log_softmax(model(torch.tensor([ids]))[0], -1)
            counted = [t for t in range(1, len(ids)) if learnt[t]]
            expected = sum(float(log_p[t - 1, ids[t]]) for t in counted)
            assert batch.reference_WxB is not None
            assert float(batch.reference_WxB[side, column]) == pytest.approx(expected, rel=1e-4)
            assert int(batch.lengths_WxB[side, column]) == len(counted)


def test_a_lora_run_trains_adapters_only_and_is_read_back_merged(
    small: MakeConfig, chats: str
) -> None:
    base = train(of_stage(small, chats, "sft", name="base"))
    tuned = train(
        of_stage(small, chats, "sft", name="tuned", start_from="base", lora__rank=4, optim__lr=1e-2)
    )
    before, after = (list_checkpoints(host.run_dir.checkpoints)[-1] for host in (base, tuned))
    weights = [load_file(path / "model.safetensors") for path in (before, after)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    merged = read_weights(after).tensors
    changed = {name for name in merged if not torch.equal(merged[name], weights[0][name])}
    assert changed == {name for name in merged if name.endswith("_proj.weight")}
    info = tuned.run_dir.read_info()
    assert (info.parent, info.parent_checkpoint) == ("base", before.name)
    assert info.parent_stage == "sft"


def test_peft_reads_our_adapters(small: MakeConfig, chats: str, tmp_path: Path) -> None:
    import peft
    from transformers import Qwen3ForCausalLM

    host = train(of_stage(small, chats, "sft", lora__rank=4, optim__lr=1e-2))
    checkpoint = list_checkpoints(host.run_dir.checkpoints)[-1]
    merged = read_weights(checkpoint)
    words = Tokenizer.load(host.run_dir.path)
    config = Qwen3ForCausalLM.config_class(**hf_config(merged.shape, words))
    theirs = Qwen3ForCausalLM(config)
    theirs.load_state_dict(load_file(checkpoint / "model.safetensors"), strict=False)
    adapted = peft.PeftModel.from_pretrained(theirs, checkpoint / "adapter").eval()
    ours = Decoder(merged.shape)
    ours.load_state_dict(merged.tensors)
    ids = torch.arange(12).unsqueeze(0)
    with torch.no_grad():
        torch.testing.assert_close(adapted(ids).logits, ours(ids), atol=1e-5, rtol=1e-5)


def test_adapters_are_merged_only_where_that_is_asked_for(
    small: MakeConfig, chats: str, tmp_path: Path
) -> None:
    host = train(of_stage(small, chats, "sft", lora__rank=4, optim__lr=1e-2))
    with pytest.raises(WeightsError, match="--merge adds them"):
        convert(host.run_dir.path, tmp_path / "hf")
    convert(host.run_dir.path, tmp_path / "hf", merge=True)
    merged, written = read_weights(host.run_dir.path), read_weights(tmp_path / "hf")
    assert all(torch.equal(merged.tensors[name], written.tensors[name]) for name in merged.tensors)


def test_what_is_frozen_stays_as_it_was(small: MakeConfig, chats: str) -> None:
    patterns = ["*.embed_tokens.*", "*.layers.0.*"]
    host = train(of_stage(small, chats, "sft", train__freeze=patterns))
    trained = read_weights(host.run_dir.path).tensors
    fresh = Decoder(read_weights(host.run_dir.path).shape)
    fresh.init_weights(0)
    same = {
        name for name, tensor in fresh.state_dict().items() if torch.equal(tensor, trained[name])
    }
    assert "model.embed_tokens.weight" in same
    assert {name for name in trained if ".layers.0." in name} <= same
    assert not {name for name in trained if ".layers.1." in name} <= same


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lora.rank": 2, "lora.targets": ["query"]}, "lora.targets: no module is called 'query'"),
        *(
            ({"lora.rank": 2, "lora.targets": [name, "q_proj"]}, f"'{name}' cannot have an adapter")
            for name in ("norm", "q_norm", "mlp")
        ),
        ({"train.freeze": ["*.layer.*"]}, "train.freeze: '*.layer.*' matches no parameter"),
        ({"train.freeze": ["*"]}, "train.freeze: nothing is left to train"),
    ],
)
def test_what_matches_nothing_is_refused(
    small: MakeConfig, changes: dict[str, object], said: str
) -> None:
    host = EngineHost(small(**changes))
    assert host.run() == "failed"
    assert said in host.error


def test_conversations_that_are_too_long_are_counted_and_said(
    small: MakeConfig, chats: str
) -> None:
    config = of_stage(small, chats, "sft").model_copy()
    long = {"instruction": "count", "output": " ".join(map(str, range(99)))}
    with Path(config.data.source).open("a", encoding="utf-8") as file:
        file.write("\n" + json.dumps(long))
    host = train(config)
    alerts = [event["message"] for event in lines(host.run_dir.events) if event["kind"] == "alert"]
    assert any("1 were longer than 64 tokens and lost their end" in alert for alert in alerts)


def test_an_sft_model_is_asked_in_its_template(small: MakeConfig, chats: str) -> None:
    host = train(of_stage(small, chats, "sft", log__sample_every=6, log__prompts=["1 + 1?"]))
    samples = [row for row in lines(host.run_dir.samples) if row["kind"] == "sample"]
    assert {row["prompt"] for row in samples} == {"1 + 1?"}
    losses = [row for row in lines(host.run_dir.samples) if row["kind"] == "token_losses"]
    assert losses[0]["tokens"][:2] != [] and np.isfinite(losses[0]["losses"]).all()


@pytest.mark.slow
def test_tasks_are_evaluated_beside_the_training_without_changing_it(
    small: MakeConfig, chats: str
) -> None:
    quiet = train(of_stage(small, chats, "sft", name="quiet", train__steps=6))
    config = of_stage(
        small,
        chats,
        "sft",
        name="judged",
        train__steps=6,
        eval__every=3,
        eval__tasks=["lmm_sums"],
        eval__limit=2,
    )
    judged = train(config)
    assert curve(judged.run_dir) == curve(quiet.run_dir)
    evals = [event for event in lines(judged.run_dir.events) if event["kind"] == "eval"]
    assert any("evaluating step-000000003 on lmm_sums" in event["message"] for event in evals)
    found = [event for event in evals if event.get("of_step") == 3]
    assert [event["message"].split(":")[0] for event in found] == ["step 3"]
    assert "lmm_sums exact_match 0.000" in found[0]["message"]
    assert len(list(judged.run_dir.evals.glob("step-000000003-*.json"))) == 1


def test_grpo_learns_what_is_rewarded(small: MakeConfig, chats: str) -> None:
    config = of_stage(
        small,
        chats,
        "grpo",
        train__steps=30,
        train__batch_size=8,
        optim__lr=1e-2,
        grpo__rewards=["length:2"],
        log__val_every=30,
    )
    host = train(config)
    reward = curve(host.run_dir, "grpo/reward")
    assert reward[1] < -0.9
    assert reward[30] > reward[1] + 0.3
    assert curve(host.run_dir, "grpo/length")[30] < curve(host.run_dir, "grpo/length")[1] - 1
    assert curve(host.run_dir, "val/reward")[30] > -0.9
    shown = [row for row in lines(host.run_dir.samples) if "reward" in row]
    assert {row["step"] for row in shown} == {0}
    assert all(isinstance(row["text"], str) and row["reward"] <= 0 for row in shown)


def test_a_group_without_spread_teaches_nothing(small: MakeConfig, chats: str) -> None:
    host = train(of_stage(small, chats, "grpo", train__steps=2))
    assert curve(host.run_dir, "grpo/flat_groups")[1] == 1
    assert curve(host.run_dir, "train/grad_norm")[1] == 0


def test_the_kl_to_the_reference_starts_at_zero_and_grows(small: MakeConfig, chats: str) -> None:
    changes = {"grpo__beta": 0.01, "grpo__rewards": ["length:2"], "optim__lr": 1e-2}
    host = train(of_stage(small, chats, "grpo", train__steps=8, **changes))
    kl = curve(host.run_dir, "grpo/kl")
    assert kl[1] == pytest.approx(0, abs=1e-6)
    assert kl[8] > 1e-4


def test_rewards_of_rloo_pay_for_the_distance_from_the_reference(
    small: MakeConfig, chats: str
) -> None:
    changes = {"grpo__loss": "rloo", "grpo__beta": 0.5, "grpo__rewards": ["length:2"]}
    config = of_stage(
        small, chats, "grpo", train__steps=8, optim__lr=1e-2, grpo__updates=2, **changes
    )
    kl = curve(train(config).run_dir, "grpo/kl")
    assert kl[1] == kl[2] == 0  # The first round is sampled from the reference.
    assert abs(kl[8]) > 1e-4
    rewards = [1.0, 2.0, 4.0, math.nan]
    one = RolloutBatch(
        number=0, prompts=[0], ids=[[5]] * 4, ended=[True] * 4,
        log_probs=[torch.zeros(1)] * 4, old_log_probs=[], totals=rewards, by_reward={},
        failures=0, kl=[0.0, 2.0, 1.0, 9.0],
    )  # fmt: skip
    [batch] = completion_batches(
        one, [[1, 2]], kind="rloo", beta=0.5, batch_size=1, seq_len=8, device=torch.device("cpu")
    )
    # 1, 1 and 3.5 are left, each above the mean of the two others by this much.
    assert batch.advantages_A.tolist() == pytest.approx([-1.25, -1.25, 2.5, 0])
    assert batch.sums["grpo/kl"].item() == pytest.approx(12)


def test_a_reward_that_fails_too_often_ends_the_run_in_a_sentence(
    small: MakeConfig, chats: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def judge(prompt, completion, answer):\n    return float('nan')\n")
    host = EngineHost(of_stage(small, chats, "grpo", grpo__rewards=[f"{file}:judge"]))
    assert host.run() == "failed"
    assert "failed on 16 of 16 answers" in host.error
    assert "Traceback" not in host.error


@pytest.mark.parametrize("divergence", ["forward", "reverse"])
def test_a_student_comes_to_agree_with_its_teacher(
    small: MakeConfig, chats: str, divergence: str
) -> None:
    train(of_stage(small, chats, "sft", name="teacher", optim__lr=1e-2))
    student = train(
        of_stage(
            small,
            chats,
            "distill",
            name="student",
            distill__teacher="teacher",
            distill__divergence=divergence,
            distill__ce_weight=0.25,
            train__steps=40,
            optim__lr=1e-2,
        )
    )
    kl = curve(student.run_dir, "distill/kl")
    assert 0 <= kl[40] < kl[1] / 4
    assert curve(student.run_dir)[40] == pytest.approx(
        0.25 * curve(student.run_dir, "distill/ce")[40] + 0.75 * kl[40], rel=1e-4
    )
    assert curve(student.run_dir, "val/kl")[40] < kl[1]


def test_a_teacher_of_another_vocabulary_is_refused(small: MakeConfig, chats: str) -> None:
    train(of_stage(small, chats, "sft", name="teacher", train__steps=1))
    train(small(name="other", train__steps=1))
    host = EngineHost(
        of_stage(small, chats, "distill", distill__teacher="teacher", start_from="other")
    )
    assert host.run() == "failed"
    assert "teacher has another vocabulary than the student" in host.error
