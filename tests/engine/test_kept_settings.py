"""What lies beside a vocabulary survives training, resuming, the next stage and conversion."""

import json
from pathlib import Path
from typing import Any

import pytest
from foreign_models import CHATML_TURNS, TURNS, byte_level, model_folder, sums, tokenizer_folder
from small_runs import MakeConfig, lines, train

from lmm_tui.data.chat.conversations import parse_conversation
from lmm_tui.data.chat.template import render
from lmm_tui.data.chat.tokenizer_template import TokenizerTemplate
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.chat.chat_worker import open_checkpoint
from lmm_tui.engine.checkpoints.weights import read_weights
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.convert import convert

ASK = [{"role": "user", "content": "What is 2 and 3?"}]
TALK = [*ASK, {"role": "assistant", "content": "5"}]
QUIET = {"log__val_every": 0, "log__probe_every": 0, "data__seq_len": 64}


def own_run(small: MakeConfig, folder: Path, start: Path, **changes: Any) -> Any:
    changes = QUIET | {"stage": "sft", "data__template": "own", "train__steps": 2} | changes
    source = sums(folder / "sums.jsonl")
    return train(small(start_from=str(start), data__source=source, **changes))


@pytest.mark.parametrize(
    "template",
    [
        "{{ bos_token }}" + TURNS,
        "{{ bos_token + '' }}" + TURNS,
        TURNS.replace("'<end>", "eos_token + '"),
        "{{ bos_token }}" + TURNS + "{{ eos_token }}",
    ],
)
def test_named_tokens_of_a_template_are_those_of_transformers(
    tmp_path: Path, template: str
) -> None:
    theirs = tokenizer_folder(
        tmp_path,
        byte_level(["<|endoftext|>", "<bos>", "<start>", "<end>"]),
        template,
        eos_token="<end>",
        bos_token="<bos>",
        pad_token="<|endoftext|>",
    )
    right = list(theirs.apply_chat_template(TALK, return_dict=False))
    for place in ("as given", "saved again"):
        folder = tmp_path if place == "as given" else tmp_path / "again"
        tokenizer = Tokenizer.load(folder)
        own = TokenizerTemplate.load(folder, tokenizer)
        assert render(parse_conversation({"messages": TALK}), tokenizer, own)[0] == right
        tokenizer.save(tmp_path / "again")


def test_a_run_keeps_the_template_it_trains_with(small: MakeConfig, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    template = "{{ '[own]' }}" + CHATML_TURNS
    model_folder(
        tmp_path / "model",
        byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"]),
        template,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )
    first = own_run(small, tmp_path, tmp_path / "model")
    settings = resolve(first.run_dir.config, {"train.steps": 3})
    resumed = train(settings, first.run_dir)
    second = own_run(small, tmp_path, first.run_dir.path, name="next")
    for number, run in enumerate((resumed, second)):
        convert(run.run_dir.path, tmp_path / f"out{number}")
        given, exported = (
            AutoTokenizer.from_pretrained(tmp_path / name) for name in ("model", f"out{number}")
        )
        assert exported.special_tokens_map == given.special_tokens_map
        assert [exported.apply_chat_template(TALK, tokenize=False)] == [
            given.apply_chat_template(TALK, tokenize=False)
        ]
        prompt = open_checkpoint(read_weights(run.run_dir.path).origin)[0].turn_ids
        assert Tokenizer.load(tmp_path / "model").decode(
            prompt([parse_conversation({"messages": TALK}).turns[0]])
        ) == given.apply_chat_template(ASK, tokenize=False, add_generation_prompt=True)


def test_a_run_in_chatml_is_exported_with_chatml(small: MakeConfig, tmp_path: Path) -> None:
    model_folder(
        tmp_path / "model",
        byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"]),
        "{{ '[own]' }}" + CHATML_TURNS,
        eos_token="<|endoftext|>",
    )
    run = own_run(small, tmp_path, tmp_path / "model", data__template="chatml")
    convert(run.run_dir.path, tmp_path / "out")
    settings = Tokenizer.load(tmp_path / "out").settings
    assert "[own]" not in str(settings.chat_template)
    # Tools that stop at the one eos_token stop at the end of an answer.
    assert settings.tokens["eos_token"] == "<|im_end|>"


@pytest.mark.parametrize("named", [True, False])
def test_generation_stops_where_the_template_ends_a_turn(
    small: MakeConfig, tmp_path: Path, named: bool
) -> None:
    """As in Gemma: neither eos_token nor ChatML's token, and not always in generation_config."""
    tokens = byte_level(["<pad>", "<eos>", "<start>", "<end>"])
    model_folder(tmp_path / "model", tokens, TURNS, eos_token="<eos>", pad_token="<pad>")
    both = [tokens.token_to_id("<eos>"), tokens.token_to_id("<end>")]
    (tmp_path / "model/generation_config.json").write_text(
        json.dumps({"eos_token_id": both if named else both[:1]})
    )
    run = own_run(
        small,
        tmp_path,
        tmp_path / "model",
        train__steps=60,
        optim__lr=3e-3,
        log__sample_every=60,
        log__temperature=0,
        log__sample_tokens=32,
        log__prompts=["What is 2 and 3?"],
    )
    sample = next(row for row in lines(run.run_dir.samples) if row["kind"] == "sample")
    assert sample["text"].isdigit()
    convert(run.run_dir.path, tmp_path / "out")
    written = json.loads((tmp_path / "out/generation_config.json").read_text())
    assert written["eos_token_id"] == sorted(both)
    assert Tokenizer.load(tmp_path / "out").end_ids == frozenset(both)


def test_a_base_model_keeps_the_stops_of_its_generation_config(tmp_path: Path) -> None:
    tokens = byte_level(["<pad>", "<eos>", "<end>"])
    model_folder(tmp_path / "model", tokens, eos_token="<eos>", pad_token="<pad>")
    both = [tokens.token_to_id("<eos>"), tokens.token_to_id("<end>")]
    (tmp_path / "model/generation_config.json").write_text(json.dumps({"eos_token_id": both}))
    Tokenizer.load(tmp_path / "model").save(tmp_path / "run")
    assert Tokenizer.load(tmp_path / "run").end_ids == frozenset(both)


@pytest.mark.parametrize("options", [{"bos_token": "<s>"}, {"unk_token": "<u>"}, {}])
def test_names_and_options_survive_a_round_trip(tmp_path: Path, options: dict[str, str]) -> None:
    given = {"eos_token": "<e>", "model_max_length": 77, "padding_side": "left"} | options
    backend = byte_level(["<s>", "<e>", "<u>"])
    theirs = tokenizer_folder(tmp_path / "a", backend, "{{ 1 }}", **given)
    Tokenizer.load(tmp_path / "a").save(tmp_path / "b")
    from transformers import AutoTokenizer

    again = AutoTokenizer.from_pretrained(tmp_path / "b")
    for name in ("special_tokens_map", "model_max_length", "padding_side", "chat_template"):
        assert getattr(again, name) == getattr(theirs, name)
    assert again("The cat").input_ids == theirs("The cat").input_ids


def test_a_tokenizer_trained_here_has_a_bos_that_transformers_does_not_add(
    tmp_path: Path,
) -> None:
    """MiniMind's eval_llm.py writes `tokenizer.bos_token + prompt`."""
    from transformers import AutoTokenizer

    Tokenizer.train(["the cat sat on the mat"] * 9, 300).save(tmp_path)
    words = AutoTokenizer.from_pretrained(tmp_path)
    assert words.bos_token == "<|endoftext|>"
    assert words.decode(words("the cat").input_ids) == "the cat"


def test_the_context_length_survives_training(small: MakeConfig, tmp_path: Path) -> None:
    model_folder(tmp_path / "model", byte_level(["<|endoftext|>"]), eos_token="<|endoftext|>")
    config = small(start_from=str(tmp_path / "model"), train__steps=1, log__val_every=0)
    run = train(config)
    convert(run.run_dir.path, tmp_path / "out")
    assert json.loads((tmp_path / "out/config.json").read_text())["max_position_embeddings"] == 512
    assert read_weights(run.run_dir.path).shape == read_weights(tmp_path / "model").shape
