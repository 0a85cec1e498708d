"""Pieces of a conversation are compared with the whole, and what is not learnt is said."""

from pathlib import Path
from typing import Any

import pytest
from foreign_models import CHATML_TURNS, byte_level, tokenizer_folder
from tokenizers import AddedToken, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from lmm_tui.data.chat.conversations import parse_conversation
from lmm_tui.data.chat.template import CHATML, render
from lmm_tui.data.chat.tokenizer_template import TokenizerTemplate
from lmm_tui.data.chat.whole_check import differences
from lmm_tui.data.tokenizing.tokenizer import Tokenizer

CALL = [{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}]


def talk(*answers: str) -> Any:
    rows = []
    for number, answer in enumerate(answers):
        rows += [{"role": "user", "content": f"Q{number}"}]
        rows += [{"role": "assistant", "content": answer}]
    return parse_conversation({"messages": rows})


def trl_template(name: str) -> str:
    trl = pytest.importorskip("trl")
    return (Path(trl.__file__).parent / f"chat_templates/{name}.jinja").read_text()


def qwen3(folder: Path, name: str) -> tuple[Tokenizer, TokenizerTemplate, Any]:
    backend = byte_level(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        ["<think>", "</think>", "<tool_call>", "</tool_call>"],
    )
    theirs = tokenizer_folder(folder, backend, trl_template(name), eos_token="<|im_end|>")
    tokenizer = Tokenizer.load(folder)
    return tokenizer, TokenizerTemplate.load(folder, tokenizer), theirs


def test_answers_that_a_template_hides_are_counted(tmp_path: Path) -> None:
    """Qwen3's own template takes the thoughts out of all answers but the last."""
    tokenizer, own, _ = qwen3(tmp_path, "qwen3")
    five = [talk(*(f"A{n}" for n in range(5)))]
    [note] = differences(five, tokenizer, own)
    assert note.startswith("4 of the first 5 answers are not learnt")
    assert differences([talk("A")], tokenizer, own) == []
    rows = [
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "", "tool_calls": CALL},
        {"role": "tool", "content": "3"},
        {"role": "assistant", "content": "DONE"},
    ]
    [note] = differences([parse_conversation({"messages": rows})], tokenizer, own)
    assert note.startswith("1 of the first 2 answers")


@pytest.mark.parametrize("name", ["qwen3", "qwen3_training", "qwen2_5", "qwen2_5_training"])
def test_ids_of_real_templates_are_those_of_transformers(tmp_path: Path, name: str) -> None:
    tokenizer, own, theirs = qwen3(tmp_path, name)
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "A"},
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "So."},
    ]
    ids, _ = render(parse_conversation({"messages": messages}), tokenizer, own)
    assert ids == list(theirs.apply_chat_template(messages, return_dict=False))


def test_a_training_template_learns_what_trl_learns(tmp_path: Path) -> None:
    tokenizer, own, theirs = qwen3(tmp_path, "qwen3_training")
    messages = [
        turn
        for n in range(5)
        for turn in (
            {"role": "user", "content": f"Q{n}"},
            {"role": "assistant", "content": f"A{n}"},
        )
    ]
    ids, learnt = render(parse_conversation({"messages": messages}), tokenizer, own)
    right = theirs.apply_chat_template(
        messages, return_dict=True, return_assistant_tokens_mask=True
    )
    assert ids == list(right["input_ids"])
    shown, wanted = (
        tokenizer.decode(i for i, counted in zip(ids, mask, strict=True) if counted)
        for mask in (learnt, right["assistant_masks"])
    )
    # TRL learns the empty thoughts that the template writes, too.
    assert shown.replace("<think>\n\n</think>\n\n", "") == wanted.replace(
        "<think>\n\n</think>\n\n", ""
    ).replace("<|im_end|>\n", "<|im_end|>")


def test_a_tokenizer_that_marks_each_piece_is_noticed(tmp_path: Path) -> None:
    """Metaspace puts its mark before every text that is encoded, so also before pieces."""
    backend = Backend(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    names = ["<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=names, show_progress=False)
    backend.train_from_iterator(["user assistant Q0 A0 one two\n"] * 9, trainer)
    backend.add_special_tokens([AddedToken("<|im_end|>", rstrip=True, special=True)])
    tokenizer_folder(tmp_path, backend, CHATML_TURNS, eos_token="<|im_end|>")
    tokenizer = Tokenizer.load(tmp_path)
    for template in (CHATML, TokenizerTemplate.load(tmp_path, tokenizer)):
        notes = differences([talk("one two")], tokenizer, template)
        assert any("other tokens as one text" in note for note in notes)


def test_a_byte_level_tokenizer_has_nothing_to_say() -> None:
    tokenizer = Tokenizer.train(["user assistant one two "] * 9, 300)
    assert differences([talk("one", "<|im_end|> two")], tokenizer, CHATML) == []
