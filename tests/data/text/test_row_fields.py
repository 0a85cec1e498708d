"""What stands in a row has its effect, is refused by name, or is listed."""

import json
from pathlib import Path

import pytest
from foreign_models import byte_level, json_lines, tokenizer_folder

from lmm_tui.data.chat.chatml import CHAT_TEMPLATE
from lmm_tui.data.chat.conversations import parse_conversation, read_conversations
from lmm_tui.data.chat.preferences import parse_pair
from lmm_tui.data.chat.prompts import parse_prompt, read_prompts
from lmm_tui.data.chat.template import render
from lmm_tui.data.chat.tokenizer_template import TokenizerTemplate
from lmm_tui.data.errors import DataError
from lmm_tui.data.text.files import FileText
from lmm_tui.data.text.json_rows import Skipped
from lmm_tui.data.text.locate import find
from lmm_tui.data.tokenizing.tokenizer import Tokenizer

TALK = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
CALL = {"name": "add", "arguments": {"a": 1}}
TOOLS = [{"type": "function", "function": {"name": "add"}}]


def said(turns):
    return [f"{turn.role}: {turn.content}" for turn in turns]


@pytest.mark.parametrize(
    ("row", "right"),
    [
        ({"conversations": TALK, "system": "S"}, ["system: S", "user: Q", "assistant: A"]),
        (
            {"instruction": "Q2", "input": "", "output": "A2", "history": [["Q1", "A1"]]},
            ["user: Q1", "assistant: A1", "user: Q2", "assistant: A2"],
        ),
        (
            {"instruction": "Q", "input": "I", "output": "A", "system": "S", "history": []},
            ["system: S", "user: Q\nI", "assistant: A"],
        ),
        ({"conversations": TALK, "system": ""}, ["user: Q", "assistant: A"]),
        ({"conversations": TALK, "label": True}, ["user: Q", "assistant: A"]),
    ],
)
def test_what_stands_beside_a_conversation_is_read(row, right):
    assert said(parse_conversation(row).turns) == right


@pytest.mark.parametrize(
    "asked",
    [
        {"prompt": "Q", "input": "I"},
        {"instruction": "Q", "input": "I"},
        {"conversations": [{"from": "human", "value": "Q\nI"}]},
        {"messages": [{"role": "user", "content": "Q\nI"}]},
    ],
)
def test_pairs_and_prompts_read_the_same_questions(asked):
    row = {**asked, "system": "S", "history": [["Q0", "A0"]]}
    right = ["system: S", "user: Q0", "assistant: A0", "user: Q\nI"]
    answers = {"chosen": {"from": "gpt", "value": "A"}, "rejected": {"from": "gpt", "value": "B"}}
    pair = parse_pair({**row, **answers})
    assert said(pair.prompt) == right
    assert said(pair.chosen + pair.rejected) == ["assistant: A", "assistant: B"]
    assert said(parse_pair({**row, "chosen": "A", "rejected": "B"}).prompt) == right
    assert said(parse_prompt({**row, "answer": "5"}).turns) == right


def test_roles_of_sharegpt_are_calls_and_results():
    rows = [
        TALK[0],
        {"from": "function_call", "value": json.dumps(CALL)},
        {"from": "observation", "value": "3"},
        TALK[1],
    ]
    turns = parse_conversation({"conversations": rows, "tools": json.dumps(TOOLS)}).turns
    assert [turn.role for turn in turns] == ["user", "assistant", "tool", "assistant"]
    assert turns[1].extra["tool_calls"] == [CALL]
    assert turns[0].extra["tools"] == TOOLS


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_thoughts_have_many_names(key):
    rows = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A", key: "Hm."}]
    assert parse_conversation({"messages": rows}).turns[1].extra == {"reasoning_content": "Hm."}


@pytest.mark.parametrize("mark", [{"weight": 0}, {"train": False}, {"loss": False}])
@pytest.mark.parametrize("own", [False, True])
def test_a_turn_of_no_weight_is_shown_and_not_learnt(mark, own):
    tokenizer = Tokenizer.train(["user assistant first second"] * 9, 300)
    template = (TokenizerTemplate(CHAT_TEMPLATE, tokenizer, {}),) if own else ()
    rows = [
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "first", **mark},
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "second", "weight": 1},
    ]
    ids, learnt = render(parse_conversation({"messages": rows}), tokenizer, *template)
    assert "first" in tokenizer.decode(ids)
    shown = [token for token, counted in zip(ids, learnt, strict=True) if counted]
    assert tokenizer.decode(shown) == "second<|im_end|>"


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"conversations": TALK, "label": False}, '"label" is false'),
        ({"conversations": TALK, "images": ["a.png"]}, '"images": only text'),
        ({"conversations": TALK, "documents": ["x"]}, '"documents" is not supported'),
        ({"conversations": TALK, "weight": 0.5}, '"weight" of a row'),
        ({"conversations": [TALK[0], {**TALK[1], "weight": 0.5}]}, '"weight" is neither 0 nor 1'),
        ({"conversations": [TALK[0], {**TALK[1], "weight": 0}]}, "no assistant turn is to be"),
        ({"conversations": TALK, "history": [["Q"]]}, '"history" is not a list of'),
        ({"conversations": [{"from": "system", "value": "T"}, *TALK], "system": "S"}, "differs"),
        ({"conversations": [TALK[0], {"from": "function_call", "value": "x"}]}, "function_call"),
    ],
)
def test_what_would_change_what_is_learnt_is_refused_by_name(row, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse_conversation(row)


def test_fields_without_effect_are_listed_once(tmp_path: Path):
    named = [{**TALK[0], "name": "Ann"}, TALK[1]]
    rows = ({"id": n, "source": "web", "conversations": named} for n in range(3))
    found = read_conversations(json_lines(tmp_path / "a.jsonl", rows), val_fraction=0)
    assert len([*found]) == 3
    assert [*found.skipped.unused] == ["id", "source", "conversations[].name"]


@pytest.mark.parametrize("system", [None, "S"])
def test_tools_without_a_system_turn_are_those_of_transformers(tmp_path: Path, system):
    trl = pytest.importorskip("trl")
    source = (Path(trl.__file__).parent / "chat_templates/qwen3.jinja").read_text()
    backend = byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], ["<think>", "</think>"])
    there = tokenizer_folder(tmp_path, backend, source, eos_token="<|im_end|>")
    messages = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    messages = [{"role": "system", "content": system}, *messages] if system else messages
    here = Tokenizer.load(tmp_path)
    talk = parse_conversation({"messages": messages, "tools": TOOLS})
    ids, _ = render(talk, here, TokenizerTemplate.load(tmp_path, here))
    assert ids == list(there.apply_chat_template(messages, tools=TOOLS, return_dict=False))


@pytest.mark.parametrize(
    ("written", "right"),
    [("1180591620717411303424", str(2**70)), ("2.50", "2.50"), ("0.00001", "0.00001"), ("7", "7")],
)
def test_a_number_is_the_answer_that_was_written(tmp_path: Path, written, right):
    file = tmp_path / "a.jsonl"
    file.write_text(f'{{"prompt": "Q", "answer": {written}}}\n', encoding="utf-8")
    [prompt] = read_prompts(str(file), val_fraction=0)
    assert prompt.answer == right


def test_pretraining_reads_json(tmp_path: Path):
    rows = [{"text": "one"}, {"text": "two\nthree"}]
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    (tmp_path / "b.json").write_text('{"text": "four"}\n', encoding="utf-8")
    texts = [*FileText(find(str(tmp_path))).documents(Skipped())]
    assert texts == ["one", "two\nthree", "four"]


def test_other_fields_of_pretraining_rows_are_listed_or_refused(tmp_path: Path):
    file = tmp_path / "a.jsonl"
    rows = [
        {"text": "one", "id": 7, "meta": {"url": "u"}, "weight": 1},
        {"text": "two", "note": None},
    ]
    skipped = Skipped()
    assert [*FileText(find(json_lines(file, rows))).documents(skipped)] == ["one", "two"]
    assert [*skipped.unused] == ["id", "meta"]
    for field in ({"weight": 0}, {"weight": 2.5}, {"images": ["a.png"]}):
        skipped = Skipped()
        source = json_lines(file, [{"text": "one", **field}])
        assert [*FileText(find(source)).documents(skipped)] == []
        assert skipped.too_many and next(iter(field)) in skipped.first[0].why


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".json"])
def test_utf_16_is_noticed_with_and_without_its_mark(tmp_path: Path, encoding, suffix):
    text = "A line.\n" if suffix == ".txt" else json.dumps([{"text": "one"}])
    file = tmp_path / f"a{suffix}"
    file.write_bytes((text * 9).encode(encoding))
    skipped = Skipped()
    try:
        assert [*FileText(find(str(file))).documents(skipped)] == []
    except DataError as error:
        assert "UTF-" in str(error)
    else:
        assert skipped.too_many and "UTF-" in skipped.first[0].why
