"""KTO: its data, its reference point, and what it learns."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import MakeConfig, curve, of_stage, run, train

from lmm_tui.data.chat.labelled import parse_labelled
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.stages.kto import KtoStage, LabelledBatch

TURNS = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]
TOLD = [{"from": "human", "value": "1 + 1?"}, {"from": "gpt", "value": "2"}]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "1 + 1?", "completion": "2", "label": False},  # trl
        {"prompt": TURNS[:1], "completion": TURNS[1:], "label": False},  # trl, conversational
        {"messages": TURNS, "label": False},  # LLaMA-Factory
        {"conversations": TOLD, "kto_tag": False},
        {"conversations": TURNS, "label": 0},  # MiniMind's conversations with a verdict
        {"instruction": "1 + 1?", "input": "", "output": "2", "kto_tag": "false"},
        {"completion": TURNS, "label": False},
    ],
    ids=str,
)
def test_forms_of_rows_with_a_verdict(row: dict[str, Any]) -> None:
    [found] = parse_labelled(row)
    assert [turn.content for turn in found.prompt] == ["1 + 1?"]
    assert [turn.content for turn in found.answer] == ["2"]
    assert not found.good


def test_a_pair_is_a_good_and_a_bad_answer() -> None:
    good, bad = parse_labelled({"prompt": "1 + 1?", "chosen": "2", "rejected": "3"})
    assert (good.answer[0].content, good.good) == ("2", True)
    assert (bad.answer[0].content, bad.good) == ("3", False)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"messages": TURNS}, "expected"),
        ({"messages": TURNS, "label": "good"}, '"label" is neither true nor false'),
        ({"messages": TURNS, "label": 0.5}, '"label" is neither true nor false'),
        ({"messages": TURNS[:1], "label": True}, "the last turn is no answer"),
        ({"messages": TURNS[1:], "label": True}, "no prompt before the answer"),
        ({"prompt": "1", "completion": " ", "label": True}, "the last turn is no answer"),
        ({"prompt": "1", "completion": 3, "label": True}, '"completion" is not a list'),
    ],
    ids=str,
)
def test_rows_that_are_refused(row: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_labelled(row)


def test_kto_tells_good_from_bad_answers(small: MakeConfig, chats: str) -> None:
    changes = {"train__steps": 30, "optim__lr": 2e-2, "kto__beta": 0.5, "train__batch_size": 16}
    host = train(of_stage(small, chats, "kto", **changes))
    assert curve(host.run_dir)[1] == pytest.approx(0.5, abs=1e-6)  # 1 - sigmoid(0)
    assert curve(host.run_dir, "kto/kl")[1] == pytest.approx(0, abs=1e-5)
    assert curve(host.run_dir, "val/accuracy")[30] > 0.9
    assert curve(host.run_dir, "kto/margin")[30] > 1


def test_the_reference_point_is_that_of_answers_to_other_prompts(
    small: MakeConfig, chats: str, tmp_path: Path
) -> None:
    """Measured answer by answer, of all micro-batches of the step together."""
    config = of_stage(small, chats, "kto", train__grad_accum=2)
    stage = KtoStage(config, torch.device("cpu"), lambda *_: None)
    model = Decoder(config.model.shape(stage.tokenizer.vocab_size))
    model.init_weights(0)
    before = Decoder(model.shape)
    before.load_state_dict(model.state_dict())
    stage.begin(model, RunDir(tmp_path), fresh=True)
    for weight in model.parameters():
        weight.data *= 1.5
    first, second = stage.micro_batches(3)
    assert isinstance(first, LabelledBatch) and isinstance(second, LabelledBatch)
    every = [at for indices in stage.indices(3) for at in indices]
    of = stage.crossed("train")
    ratios, others = [], 0
    for at in every:
        [(ids, counted)] = of[at]
        [(own, own_counted)] = [*first.answers, *second.answers][every.index(at)]
        prompt = own_counted.index(True)
        assert ids[:prompt] == own[:prompt]
        others += ids != own
        batch = torch.tensor([ids])
        both = [
            m(batch)[0, :-1].log_softmax(-1).gather(1, batch[0, 1:, None]) for m in (model, before)
        ]
        ratios.append(((both[0] - both[1])[:, 0] * torch.tensor(counted[1:])).sum().item())
    assert others > len(every) / 2  # Different questions may have the same answer.
    assert first.kl == second.kl == pytest.approx(max(0, sum(ratios) / len(ratios)), abs=1e-4)


def test_answers_of_one_verdict_and_an_imbalance_are_said(
    small: MakeConfig, tmp_path: Path
) -> None:
    def warnings(good: int, bad: int) -> list[str]:
        rows = [
            {"prompt": f"{at}?", "completion": str(at), "label": at < good}
            for at in range(good + bad)
        ]
        file = tmp_path / f"{good}-{bad}.jsonl"
        file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        config = small(stage="kto", data__source=str(file), data__val_fraction=1e-9)
        return KtoStage(config, torch.device("cpu"), lambda *_: None).warnings

    assert any(one.startswith("all 20 answers are good") for one in warnings(20, 0))
    assert any(
        one.startswith("30 good and 10 bad answers: kto.good_weight between 0.33 and 0.44")
        for one in warnings(30, 10)
    )
    assert not [one for one in warnings(20, 20) if "kto" in one.lower()]


def test_plain_chats_are_refused_with_what_a_row_needs(small: MakeConfig, chats: str) -> None:
    host = run(small(stage="kto", data__source=f"{chats}/chats.jsonl"))
    assert '"label"}' in host.error and 'found "messages"' in host.error
