"""Chat templates as published: token ids and masks are those of `apply_chat_template`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from real_templates import FAMILIES, LETTERS, metaspace, open_folder, opened, trl_template

from lmm_tui.data.chat.conversations import parse_conversation
from lmm_tui.data.chat.template import render, render_prompt
from lmm_tui.data.chat.whole_check import differences
from lmm_tui.data.errors import DataError

TEXT = st.text(LETTERS.replace("y", ""), min_size=1, max_size=12).filter(str.strip)
ASKED = TEXT.map(lambda text: f"{text}y")
"""Questions have a letter that no answer has."""
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer", "description": "a number"}},
        },
    },
}
UNMARKED = sorted(name for name in FAMILIES if not name.endswith("_training"))
WITH_TOOLS = ("minimind", "qwen3", "qwen2_5", "qwen3_instruct_2507", "llama3_1", "llama3_2")
TWINS = ("llama3", "gemma", "gemma3", "phi3", "phi3_5", "qwen3_instruct_2507")
"""Templates of which TRL has one with the same text that marks the answers."""


def call(number: int) -> dict[str, Any]:
    function = {"name": "add", "arguments": {"a": number}}
    return {"type": "function", "id": "call00001", "function": function}


@st.composite
def rows(draw: st.DrawFn, name: str = "", thoughts: bool = True) -> dict[str, Any]:
    """A row with `messages`, and `tools` where the template has a place for them."""
    messages: list[dict[str, Any]] = []
    if draw(st.booleans()) and not name.startswith(("gemma", "phi")):
        messages.append({"role": "system", "content": draw(ASKED)})
    uses_tools = name.removesuffix("_training") in WITH_TOOLS and draw(st.booleans())
    for _ in range(draw(st.integers(1, 4))):
        messages.append({"role": "user", "content": draw(ASKED)})
        if uses_tools and draw(st.booleans()):
            messages.append(
                {"role": "assistant", "content": "", "tool_calls": [call(draw(st.integers(0, 99)))]}
            )
            messages.append({"role": "tool", "name": "add", "content": draw(ASKED)})
        answer = {"role": "assistant", "content": draw(TEXT)}
        if thoughts and draw(st.booleans()):
            answer["reasoning_content"] = draw(TEXT)
        messages.append(answer)
    return {"messages": messages} | ({"tools": [TOOL]} if uses_tools else {})


def theirs_of(name: str, row: Mapping[str, Any], **options: Any) -> Any:
    return opened(name).theirs.apply_chat_template(
        row["messages"], tools=row.get("tools"), return_dict=True, **options
    )


def ours_of(name: str, row: Mapping[str, Any]) -> tuple[list[int], list[bool]]:
    found = opened(name)
    return render(parse_conversation(dict(row)), found.ours, found.template)


def quick(function: Any) -> Any:
    return settings(
        deadline=None,
        max_examples=15,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )(function)


@pytest.mark.parametrize("name", sorted(FAMILIES))
@quick
@given(data=st.data())
def test_ids_are_those_of_transformers(name: str, data: st.DataObject) -> None:
    row = data.draw(rows(name))
    ids, learnt = ours_of(name, row)
    right = theirs_of(name, row, return_assistant_tokens_mask=True)
    assert ids == list(right["input_ids"])
    if name.endswith("_training"):
        assert learnt == [bool(marked) for marked in right["assistant_masks"]]
    turns = parse_conversation(row).turns[:-1]
    prompt = render_prompt(turns, *opened(name)[:2])
    asked = {**row, "messages": row["messages"][:-1]}
    assert prompt == list(theirs_of(name, asked, add_generation_prompt=True)["input_ids"])


@pytest.mark.parametrize("name", TWINS)
@quick
@given(data=st.data())
def test_answers_are_found_where_trl_marks_them(name: str, data: st.DataObject) -> None:
    row = data.draw(rows(name))
    ids, learnt = ours_of(name, row)
    found = opened(name)
    marked = found.theirs.apply_chat_template(
        row["messages"],
        tools=row.get("tools"),
        chat_template=trl_template(f"{name}_training"),
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    assert ids == list(marked["input_ids"])
    # TRL learns the line break, too, that stands behind the token that ends a turn.
    special = {found.ours.id_of(token) for token in found.ours.special_tokens}
    right = [bool(value) for value in marked["assistant_masks"]]
    for place in reversed(range(len(ids))):
        if right[place] and ids[place] not in special and not any(right[place + 1 : place + 2]):
            right[place] = False
    assert learnt == right


@pytest.mark.parametrize("name", UNMARKED)
@quick
@given(data=st.data())
def test_every_answer_is_learnt_with_the_token_that_ends_it(name: str, data: st.DataObject) -> None:
    row = data.draw(rows(name))
    ids, learnt = ours_of(name, row)
    found = opened(name)
    said = found.ours.decode(i for i, counted in zip(ids, learnt, strict=True) if counted)
    end = found.template.turn_ends[0]
    done = 0
    for message in row["messages"]:
        if message["role"] == "assistant":
            text = message["content"].strip() or '"add"'
            at = said.find(text, done)
            assert at >= 0, (said, text)
            done = said.index(end, at + len(text)) + len(end)
    assert "y" not in said


@pytest.mark.parametrize("name", sorted(FAMILIES))
@quick
@given(data=st.data())
def test_an_answer_with_weight_0_is_shown_and_not_learnt(name: str, data: st.DataObject) -> None:
    row = data.draw(rows(name))
    ids, learnt = ours_of(name, row)
    answers = [message for message in row["messages"] if message["role"] == "assistant"]
    chosen = data.draw(st.integers(0, len(answers) - 1))
    found = opened(name)
    for place, message in enumerate(answers):
        message["weight"] = int(place == chosen)
    same, fewer = ours_of(name, row)
    assert same == ids
    assert all(was for was, still in zip(learnt, fewer, strict=True) if still)
    said = found.ours.decode(i for i, counted in zip(ids, fewer, strict=True) if counted)
    assert said.count(found.template.turn_ends[0]) == 1
    assert (answers[chosen]["content"].strip() or '"add"') in said


@pytest.mark.parametrize("name", ["gemma", "gemma_training"])
def test_what_a_template_refuses_is_refused(name: str) -> None:
    from jinja2 import TemplateError

    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
    ]
    with pytest.raises(TemplateError, match="System role not supported"):
        theirs_of(name, {"messages": messages})
    with pytest.raises(DataError, match="System role not supported"):
        ours_of(name, {"messages": messages})


@pytest.mark.parametrize("scheme", ["always", "first", "never"])
@quick
@given(row=rows(thoughts=False))
def test_the_whole_is_encoded_whatever_the_tokenizer_puts_before_a_piece(
    scheme: str, row: dict[str, Any]
) -> None:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    key = f"metaspace {scheme}"
    if key not in _MADE:
        backend = metaspace(special, scheme, rstrip=["<|im_end|>"])
        source = FAMILIES["smollm2"].source()
        _MADE[key] = open_folder(backend, source, eos_token="<|im_end|>")
    found = _MADE[key]
    right = found.theirs.apply_chat_template(row["messages"], return_dict=True)
    ids, learnt = render(parse_conversation(row), found.ours, found.template)
    assert ids == list(right["input_ids"])
    ends = sum(message["role"] == "assistant" for message in row["messages"])
    closing = found.ours.id_of("<|im_end|>")
    assert sum(i == closing for i, counted in zip(ids, learnt, strict=True) if counted) == ends


_MADE: dict[str, Any] = {}


def test_what_a_template_leaves_out_is_said_with_an_example() -> None:
    """Of five thoughts Qwen3's template writes the last; Gemma's writes no call and no tool."""
    thoughts = [
        turn
        for n in range(5)
        for turn in (
            {"role": "user", "content": f"Q{n}"},
            {"role": "assistant", "content": f"A{n}", "reasoning_content": f"R{n}"},
        )
    ]
    called = [
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "", "tool_calls": [call(1)]},
        {"role": "user", "content": "3"},
        {"role": "assistant", "content": "DONE"},
    ]

    def notes(name: str, row: dict[str, Any]) -> list[str]:
        return differences([parse_conversation(row).turns], *opened(name)[:2])

    [note] = notes("qwen3", {"messages": thoughts})
    assert note.startswith("4 of the first 5 thoughts are not learnt")
    assert note.endswith('"R0"')
    assert notes("minimind", {"messages": thoughts}) == []
    found = notes("gemma", {"messages": called, "tools": [TOOL]})
    assert [note.split(":")[0] for note in found] == [
        "1 of the first 1 tools are not shown",
        "1 of the first 1 tool calls are not learnt",
    ]


def test_an_answer_that_begins_within_a_token_is_said() -> None:
    """Qwen2.5's tokenizer has a token of two line breaks, one of them the prompt's."""
    row = {
        "messages": [
            {"role": "user", "content": "Q"},
            {"role": "assistant", "content": "\nA"},
        ]
    }
    found = opened("qwen2_5")
    [note] = differences([parse_conversation(row).turns], found.ours, found.template)
    assert note.startswith("1 of the first 1 answers begin within a token")


def test_a_template_named_tool_use_is_for_conversations_with_tools() -> None:
    """As in Command-R's and Hermes' folders; kept by our own, too."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from transformers import AutoTokenizer

    from lmm_tui.data.chat.tokenizer_template import TokenizerTemplate
    from lmm_tui.data.tokenizing.tokenizer import Tokenizer

    plain, tools = FAMILIES["smollm2"].source(), FAMILIES["qwen2_5"].source()
    family = FAMILIES["qwen2_5"]
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    with TemporaryDirectory() as place:
        from foreign_models import tokenizer_folder

        given_ = {"default": plain, "tool_use": tools}
        tokenizer_folder(Path(place, "given"), family.backend(), given_, **family.names)
        assert Path(place, "given/additional_chat_templates/tool_use.jinja").exists()
        Tokenizer.load(Path(place, "given")).save(Path(place, "saved"))
        for name in ("given", "saved"):
            theirs = AutoTokenizer.from_pretrained(Path(place, name))
            ours = Tokenizer.load(Path(place, name))
            own = TokenizerTemplate.load(Path(place, name), ours)
            for row in ({"messages": messages}, {"messages": messages, "tools": [TOOL]}):
                right = theirs.apply_chat_template(
                    messages, tools=row.get("tools"), return_dict=False
                )
                assert render(parse_conversation(row), ours, own)[0] == list(right)
