"""Promises of reading conversations, pairs and prompts from the user's files."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm_tui.data.chat.conversations import parse_conversation, read_conversations
from lmm_tui.data.chat.preferences import parse_pair, read_pairs
from lmm_tui.data.chat.prompts import parse_prompt, read_prompts
from lmm_tui.data.errors import DataError
from lmm_tui.data.turns import Conversation, Pair, Prompt, Turn

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SAID = TEXT.filter(str.strip)
USER, ANSWER = Turn("user", "1 + 1?"), Turn("assistant", "2")
CALL = {"name": "add", "arguments": {"a": 1}}


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


ASKED, SAYS = turn("user", "1 + 1?"), turn("assistant", "2")


def written(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def why(parse, row):
    with pytest.raises(ValueError) as refusal:
        parse(row)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


# Conversations


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": [ASKED, SAYS]},
        {"messages": [ASKED, SAYS], "id": 7},
        {
            "conversations": [
                {"from": "human", "value": "1 + 1?"},
                {"from": "gpt", "value": "2"},
            ]
        },
        {"messages": [turn("User", [{"type": "text", "text": "1 + 1?"}]), SAYS]},
        {"instruction": "1 + 1?", "input": "", "output": "2"},
        {"instruction": "1 + 1?", "output": "2", "system": None},
    ],
)
def test_every_schema_gives_the_same_conversation(row):
    assert parse_conversation(row) == Conversation((USER, ANSWER))


def test_alpaca_s_input_stands_below_and_its_system_text_first():
    row = {"instruction": "Add.", "input": "1 1", "output": "2", "system": "Be short."}
    assert parse_conversation(row).turns == (
        Turn("system", "Be short."),
        Turn("user", "Add.\n1 1"),
        ANSWER,
    )


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["system", "user", "tool"]), TEXT)), SAID)
def test_roles_and_texts_are_kept_as_they_are(turns, answer):
    rows = [turn(*each) for each in turns] + [turn("assistant", answer)]
    for key in ("conversations", "messages"):
        assert parse_conversation({key: rows}).turns == (
            *(Turn(*each) for each in turns),
            Turn("assistant", answer),
        )


@pytest.mark.parametrize("in_a_string", [False, True])
def test_thoughts_tools_and_calls_are_kept(in_a_string):
    def given_as(value):
        return json.dumps(value) if in_a_string else value

    row = {
        "conversations": [
            turn("system", "", tools=given_as([CALL])),
            turn("assistant", None, tool_calls=given_as([CALL]), reasoning_content="Hm."),
            turn("tool", "2", tool_call_id="x"),
        ]
    }
    system, calling, result = parse_conversation(row).turns
    assert system.extra == {"tools": [CALL]}
    assert (calling.content, calling.extra["tool_calls"]) == ("", [CALL])
    assert calling.extra["reasoning_content"] == "Hm."
    assert result.extra == {"tool_call_id": "x"}


def test_tools_beside_the_messages_come_to_the_first_turn():
    alone = parse_conversation({"messages": [ASKED, SAYS], "tools": [CALL]})
    assert alone.turns == (Turn("user", USER.content, {"tools": [CALL]}), ANSWER)
    rows = [turn("system", "Hi."), ASKED, SAYS]
    with_system = parse_conversation({"messages": rows, "tools": [CALL]})
    assert with_system.turns == (Turn("system", "Hi.", {"tools": [CALL]}), USER, ANSWER)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"text": "x"}, 'expected {"conversations": […]}, {"messages": […]} or'),
        ({"text": "x"}, '; found "text"'),
        ({}, "found an empty object"),
        ({"messages": []}, '"messages" is empty; expected one turn at least'),
        ({"messages": "x"}, '"messages" is not a list'),
        ({"messages": ["x"]}, '"messages", turn 1: not an object; expected {"role", "content"}'),
        ({"messages": [ASKED, {"content": "x"}]}, '"messages", turn 2: no "role"'),
        ({"messages": [turn("bot", "x")]}, 'role "bot"; expected one of system, user, assistant'),
        ({"messages": [turn(3, "x")]}, "role 3; expected one of"),
        ({"messages": [turn("user", None)]}, 'turn 1: no "content"; expected text'),
        ({"messages": [turn("user", 3)]}, "neither a string nor a list of text parts"),
        ({"messages": [turn("user", [{"type": "image"}])]}, "nor a list of text parts"),
        ({"messages": [ASKED]}, "no assistant turn"),
        ({"messages": [ASKED, turn("assistant", " ")]}, "every assistant turn is empty"),
        ({"messages": [turn("assistant", "x", reasoning_content=1)]}, "is not a string"),
        ({"messages": [turn("assistant", "x", tool_calls="[")]}, "is not a list of objects"),
        ({"messages": [turn("assistant", "x", tool_calls=[{}])]}, "a tool call has no name"),
        ({"messages": [SAYS], "tools": "x"}, '"tools" is not a list of objects'),
        ({"instruction": "x"}, 'no "output"; expected'),
        ({"instruction": "x", "output": 3}, '"output" is not a string'),
        ({"instruction": "x", "output": ""}, "every assistant turn is empty"),
    ],
)
def test_a_row_that_is_no_conversation_says_what_was_expected(row, sentence):
    assert sentence in why(parse_conversation, row)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "from", "content", "value", "tool_calls", "tools", "function"])
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
CHAT_KEYS = ["conversations", "messages", "instruction", "output", "input", "system", "tools"]
KEYS = st.sampled_from([*CHAT_KEYS, "chosen", "rejected", "prompt", "answer"])


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(KEYS, JSON, max_size=5))
def test_any_row_is_understood_or_refused_with_one_sentence(row):
    for parse in (parse_conversation, parse_pair, parse_prompt):
        try:
            parse(row)
        except ValueError as error:
            assert "expected" in str(error)
            assert len(str(error)) < 400


def test_bad_rows_are_placed_counted_and_refused(tmp_path):
    good = [{"messages": [turn("user", f"{n}?"), SAYS]} for n in range(200)]
    path = written(tmp_path / "a.jsonl", [*good, {"messages": [ASKED]}])
    chats = read_conversations(path, val_fraction=0)
    assert len(list(chats)) == 200
    assert chats.skipped_rows[0].startswith(f"{path}:201: no assistant turn")
    path = written(tmp_path / "b.jsonl", [{"messages": []}, *good[:50]])
    with pytest.raises(DataError, match=r'b.jsonl:1: "messages" is empty; .*1 of 51 lines'):
        list(read_conversations(path))


def test_the_two_sides_share_no_question_and_lose_nothing(tmp_path):
    rows = [
        {"messages": [turn("user", f"question {n % 150}"), turn("assistant", f"answer {n}")]}
        for n in range(300)
    ]
    path = written(tmp_path / "a.jsonl", rows)
    train, test = (
        list(read_conversations(path, side=side, val_fraction=0.2)) for side in ("train", "test")
    )
    assert len(train) + len(test) == 300
    assert 20 < len(test) < 100
    asked = [{chat.turns[0].content for chat in side} for side in (train, test)]
    assert not asked[0] & asked[1]


# Preference pairs


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": [ASKED, SAYS], "rejected": [ASKED, turn("assistant", "3")]},
        {"prompt": "1 + 1?", "chosen": "2", "rejected": "3"},
        {"prompt": [ASKED], "chosen": "2", "rejected": [turn("assistant", "3")]},
        {"prompt": [ASKED], "chosen": [SAYS], "rejected": [turn("assistant", "3")]},
        {
            "prompt": "1 + 1?",
            "chosen": [ASKED, SAYS],
            "rejected": [ASKED, turn("assistant", "3")],
        },
    ],
)
def test_every_schema_gives_the_same_pair(row):
    assert parse_pair(row) == Pair((USER,), (ANSWER,), (Turn("assistant", "3"),))


def test_turns_that_both_have_belong_to_the_prompt():
    start = [turn("system", "Hi."), ASKED, SAYS, turn("user", "2 + 2?")]
    pair = parse_pair(
        {
            "chosen": [*start, turn("assistant", "4")],
            "rejected": [*start, turn("assistant", "5")],
        }
    )
    assert (len(pair.prompt), pair.chosen[0].content, pair.rejected[0].content) == (4, "4", "5")


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"chosen": "x"}, 'expected {"chosen", "rejected", optionally "prompt"}'),
        ({"prompt": "x", "chosen": "2", "rejected": "2"}, "chosen equals rejected"),
        ({"chosen": [ASKED, SAYS], "rejected": [ASKED, SAYS]}, "chosen equals rejected"),
        ({"prompt": "x", "chosen": "", "rejected": "2"}, '"chosen" is empty'),
        ({"prompt": "x", "chosen": "2", "rejected": " "}, '"rejected" is empty'),
        ({"prompt": "x", "chosen": [], "rejected": "2"}, '"chosen" is empty'),
        ({"chosen": [ASKED, SAYS], "rejected": [ASKED]}, '"rejected" is empty'),
        ({"chosen": "2", "rejected": "3"}, "no prompt before the answers"),
        (
            {"chosen": [ASKED, SAYS], "rejected": [turn("user", "?"), SAYS]},
            "ask different things",
        ),
        ({"prompt": 3, "chosen": "2", "rejected": "3"}, '"prompt" is not a list'),
    ],
)
def test_a_pair_that_teaches_nothing_says_why(row, sentence):
    assert sentence in why(parse_pair, row)


def test_equal_pairs_are_left_out_and_reported(tmp_path):
    rows = [{"prompt": f"{n}?", "chosen": "2", "rejected": "3"} for n in range(150)]
    rows[20]["rejected"] = "2"
    pairs = read_pairs(written(tmp_path / "a.jsonl", rows), val_fraction=0)
    assert len(list(pairs)) == 149
    assert pairs.skipped_rows == (
        f"{tmp_path / 'a.jsonl'}:21: chosen equals rejected; expected two answers that differ",
    )


# Prompts


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({"conversations": [ASKED, turn("assistant", "")]}, None),
        ({"conversations": [ASKED, SAYS]}, "2"),
        ({"messages": [ASKED]}, None),
        ({"prompt": "1 + 1?", "answer": "2"}, "2"),
        ({"prompt": [ASKED], "answer": 2}, "2"),
        ({"prompt": "1 + 1?"}, None),
    ],
)
def test_the_last_answer_is_taken_off_a_prompt(row, answer):
    assert parse_prompt(row) == Prompt((USER,), answer)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"text": "x"}, 'expected {"prompt", optionally "answer"}'),
        ({"prompt": " "}, "the prompt is empty"),
        ({"prompt": "x", "answer": ["2"]}, '"answer" is neither text nor a number'),
        ({"conversations": []}, '"conversations" is empty'),
        ({"conversations": [SAYS]}, "nothing to answer"),
        ({"conversations": [turn("system", "x"), SAYS]}, "nothing to answer"),
    ],
)
def test_a_row_that_is_no_prompt_says_what_was_expected(row, sentence):
    assert sentence in why(parse_prompt, row)


def test_prompts_are_read_from_files(tmp_path):
    rows = [{"prompt": f"{n}?", "answer": n} for n in range(30)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    sides = [
        list(read_prompts(str(path), side=side, val_fraction=0.3)) for side in ("train", "test")
    ]
    assert sorted(int(prompt.answer) for side in sides for prompt in side) == list(range(30))
    assert all(sides)


@pytest.mark.parametrize("read", [read_conversations, read_pairs, read_prompts])
def test_builtin_data_needs_no_file_and_skips_nothing(read):
    for side in ("train", "test"):
        rows = read("builtin", side=side)
        assert next(iter(rows)) == next(iter(rows))
        assert rows.skipped_rows == ()
