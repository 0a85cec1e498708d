"""Rewards: what the built-in ones say, the user's own functions, and what happens if one fails."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm_tui.engine.stages.reward_loading import load_rewards
from lmm_tui.engine.stages.rewards import Reward, RewardError, Sample, exact, score, short

OWN = """
def longer(prompt, completion, answer):
    return len(completion) - len(prompt)

limit = 3
"""


def sample(completion: str = "4", answer: str | None = "4", **changes: object) -> Sample:
    options = {"tokens": 2, "ended": True} | changes
    return Sample("2 + 2?", completion, answer, **options)  # type: ignore[arg-type]


def reward(name: str) -> Callable[[Sample], float]:
    [found] = load_rewards([name])
    assert found.name == name
    return found.function


@given(answer=st.text(), space=st.text(" \n\t"), more=st.text(min_size=1))
def test_exact_is_for_the_answer_and_nothing_else(answer: str, space: str, more: str) -> None:
    assert exact(sample(space + answer + space, answer)) == 1
    longer = answer + more
    assert exact(sample(longer, answer)) == (longer.strip() == answer.strip())


def test_form_is_to_say_something_in_a_line_and_to_end() -> None:
    form = reward("format")
    assert form(sample(" 4 \n")) == 1
    assert form(sample("4", ended=False)) == 0.5
    assert form(sample("4\n5", ended=False)) == 0
    assert form(sample(" \n")) == 0


@given(tokens=st.integers(1, 1000), target=st.integers(1, 300))
def test_length_costs_nothing_up_to_its_target_and_then_more_and_more(
    tokens: int, target: int
) -> None:
    cost = short(sample(tokens=tokens), target)
    longer = short(sample(tokens=tokens + 1), target)
    assert -1 <= longer <= cost <= 0
    assert (cost == 0) == (tokens <= target)
    assert (cost == -1) == (tokens >= 2 * target)
    assert reward(f"length:{target}")(sample(tokens=tokens)) == cost


def test_own_functions_come_from_the_current_folder_or_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_judges.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("own_judges:longer", "own_judges.py:longer", f"{tmp_path}/own_judges.py:longer"):
        assert reward(name)(sample("1234567")) == 1


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no reward is named; give some of exact, format, length"),
        (["exact", "format", "exact"], "named twice"),
        (["exakt"], "no reward 'exakt'; give one of exact, format, length, module:function"),
        (["length:0"], "'0' is no number of tokens from 1 on"),
        (["no_such_module:f"], "importing no_such_module failed with ModuleNotFoundError"),
        (["nowhere.py:f"], "there is no file nowhere.py"),
        (["own_judges.py:shorter"], "own_judges.py has no function 'shorter'"),
        (["own_judges.py:limit"], "own_judges.py has no function 'limit'"),
        (["broken.py:f"], "importing broken.py failed with ZeroDivisionError: division by zero;"),
    ],
)
def test_a_reward_that_is_not_there_is_named(
    names: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_judges.py").write_text(OWN)
    (tmp_path / "broken.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RewardError) as refused:
        load_rewards(names)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_scores_are_weighted_sums() -> None:
    scores = score(
        load_rewards(["exact", "length:2"]), [1.0, 0.5], [sample(), sample("5", tokens=3)]
    )
    assert scores.totals == [1.0, -0.25]
    assert scores.by_reward == {"exact": [1.0, 0.0], "length:2": [0.0, -0.5]}
    assert (scores.failures, scores.first_failure) == (0, "")


def raises(_: Sample) -> float:
    raise KeyError("score\nand more")


@pytest.mark.parametrize(
    ("failing", "why"),
    [
        (raises, "KeyError"),
        (lambda _: math.nan, "ValueError: it gave nan"),
        (lambda _: math.inf, "ValueError: it gave inf"),
        (lambda _: None, "TypeError"),
        (lambda _: "good", "ValueError"),
    ],
)
def test_a_sample_that_a_reward_fails_on_is_left_out(
    failing: Callable[[Sample], float], why: str
) -> None:
    def sometimes(judged: Sample) -> float:
        return failing(judged) if judged.completion == "bad" else 2

    rewards = [
        Reward("sometimes", sometimes),
        Reward("format", load_rewards(["format"])[0].function),
    ]
    good = [sample() for _ in range(9)]
    scores = score(rewards, [1.0, 1.0], [*good, sample("bad")])
    assert scores.totals == [3.0] * 9 + [None]
    assert scores.by_reward == {"sometimes": [2.0] * 9 + [None], "format": [1.0] * 10}
    assert scores.failures == 1
    assert scores.first_failure.startswith("'sometimes' with ") and why in scores.first_failure
    with pytest.raises(RewardError) as stopped:
        score(rewards, [1.0, 1.0], [*good[1:], sample("bad"), sample("bad")])
    assert "failed on 2 of 10 answers, first 'sometimes' with " in str(stopped.value)
    assert why in str(stopped.value) and "\n" not in str(stopped.value)


def test_an_answer_is_needed_to_be_exact() -> None:
    with pytest.raises(RewardError, match="'exact' with ValueError: the prompt comes without"):
        score(load_rewards(["exact"]), [1.0], [sample(answer=None)])


@pytest.mark.slow
def test_a_folder_is_a_reward_model(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        LlamaConfig,
        LlamaForSequenceClassification,
        PreTrainedTokenizerFast,
    )

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "2": 1, "4": 2, "5": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token="[UNK]",
        pad_token="[UNK]",
        model_input_names=["input_ids"],
    )

    def saved(labels: int) -> str:
        folder = tmp_path / str(labels)
        config = LlamaConfig(
            vocab_size=4,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_labels=labels,
            pad_token_id=0,
            initializer_range=1.0,
        )
        LlamaForSequenceClassification(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return str(folder)

    judge = reward(saved(1))
    assert judge(sample("4")) == judge(sample("4")) != judge(sample("5"))
    with pytest.raises(RewardError, match="has 3 labels"):
        load_rewards([saved(3)])
    (tmp_path / "empty").mkdir()
    with pytest.raises(RewardError, match="not a reward model"):
        load_rewards([str(tmp_path / "empty")])
