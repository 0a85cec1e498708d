"""Conversations for fine-tuning: the built-in ones, or rows in MiniMind's, OpenAI's, ShareGPT's or
Alpaca's form, recognised row by row.

Parsing says what was expected where a field does not fit. Templates and tokens come later.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lmm_tui.data.builtin import tasks
from lmm_tui.data.builtin.holdout import Split, split
from lmm_tui.data.builtin.task import KINDS
from lmm_tui.data.builtin.version import builtin_identity
from lmm_tui.data.text.corpus import BUILTIN
from lmm_tui.data.text.dataset import Dataset, from_files
from lmm_tui.data.text.row_fields import (
    CONTENT_KEYS,
    CONVERSATION_FIELDS,
    LEARNT_KEYS,
    ROLE_KEYS,
    THOUGHT_KEYS,
    refuse_unsupported,
    shape_of,
)
from lmm_tui.data.text.source import Source
from lmm_tui.data.turns import ROLES, Conversation, Turn, question
from lmm_tui.json_text import parse_json_row
from lmm_tui.message import Message

Chats = Dataset[Conversation]

EXPECTED = Message(
    'expected {"conversations": […]}, {"messages": […]} or {"instruction", '
    '"output", optionally "input", "system"}'
)

_ROLE_NAMES = {role: role for role in ROLES} | {
    "human": "user",
    "gpt": "assistant",
    "developer": "system",
    "function": "tool",
    "function_call": "assistant",
    "observation": "tool",
}
_ASKED = ("prompt", "conversations", "messages", "instruction")


def read_conversations(
    source: str | Source,
    *,
    side: Split = "train",
    val_fraction: float = 0.05,
    kinds: Sequence[str] = KINDS,
) -> Chats:
    """One side of `builtin`, or of files of rows, a folder or a glob of them.

    Of files, `val_fraction` is for validation, by a hash of what is asked before the first answer:
    equal questions stay on one side. The built-in conversations have a split of their own, and
    `kinds`.
    """
    if Source.parse(source).path == BUILTIN:
        return Dataset(
            lambda _: tasks.conversations(side, kinds=kinds),
            kind=f"conversations {side}",
            identity=lambda _: builtin_identity(side, kinds),
        )
    return from_files(
        source,
        parse_conversation,
        lambda found: split(question(found.turns), val_fraction) == side,
        kind=f"conversations {side}, {val_fraction} for validation",
        fields=CONVERSATION_FIELDS,
        role="messages",
        either=("messages", "conversations", "instruction"),
    )


def parse_conversation(row: dict[str, Any]) -> Conversation:
    """What a row holds; ValueError says what was expected where it is no conversation."""
    refuse_unsupported(row)
    if row.get("label") is False:
        raise ValueError(
            Message('"label" is false, an answer not to be learnt; leave such rows out')
        )
    turns = whole_turns(row, EXPECTED)
    if not any(turn.role == "assistant" for turn in turns):
        raise ValueError(
            Message("no assistant turn, so nothing to learn from; expected one at least")
        )
    if not any(turn.role == "assistant" and says_something(turn) for turn in turns):
        raise ValueError(Message("every assistant turn is empty; expected one that says something"))
    if not any(turn.role == "assistant" and turn.learnt for turn in turns):
        raise ValueError(Message("no assistant turn is to be learnt; expected one at least"))
    return Conversation(turns)


def whole_turns(row: dict[str, Any], expected: str) -> tuple[Turn, ...]:
    """All turns of a conversation; ValueError, with what was `expected`, where there is none."""
    if "instruction" in row:
        return with_context(row, _alpaca(row))
    for key in ("conversations", "messages"):
        if key in row:
            return with_context(row, parse_turns(row[key], key))
    raise ValueError(Message("{expected}; {shape_of}", expected=expected, shape_of=shape_of(row)))


def parse_turns(rows: Any, key: str) -> tuple[Turn, ...]:
    """The turns of a list of objects.

    `key` is where the list stands. Raises ValueError where it is empty or isn't such a list.
    """
    if not isinstance(rows, list):
        raise ValueError(Message('"{key}" is not a list; expected a list of turns', key=key))
    if not rows:
        raise ValueError(Message('"{key}" is empty; expected one turn at least', key=key))
    return tuple(
        parse_turn(row, Message('"{key}", turn {at}', key=key, at=at))
        for at, row in enumerate(rows, start=1)
    )


def asked_turns(row: dict[str, Any]) -> tuple[Turn, ...]:
    """The turns before an answer, from `prompt`, `conversations`, `messages` or `instruction`.

    With `input` below the text, and what stands beside them in front. Empty where there are none.
    """
    key = next((key for key in _ASKED if row.get(key) is not None), None)
    if key is None:
        return ()
    if isinstance(row[key], str) and key in {"prompt", "instruction"}:
        turns: tuple[Turn, ...] = (Turn("user", _with_input(row[key], row)),)
    else:
        turns = parse_turns(row[key], key)
        if row.get("input"):
            raise ValueError(Message('"input" stands beside turns; expected it beside text'))
    return with_context(row, turns)


def with_context(row: dict[str, Any], turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """`turns` after what a row has beside them: `system`, `history` and `tools`."""
    turns = _history(row.get("history")) + turns
    if system := row.get("system"):
        if not isinstance(system, str):
            raise ValueError(Message('"system" is not a string; expected text'))
        if turns[0].role != "system":
            turns = (Turn("system", system), *turns)
        elif turns[0].content != system:
            raise ValueError(Message('"system" differs from the system turn; expected one of them'))
    tools = row.get("tools")
    if tools in (None, "", []):
        return turns
    given = {**turns[0].extra, "tools": _objects(tools, "the row", "tools")}
    return replace(turns[0], extra=given), *turns[1:]


def _history(found: Any) -> tuple[Turn, ...]:
    """Alpaca's earlier rounds: a list of [question, answer]."""
    turns: list[Turn] = []
    for round_ in found or ():
        if not isinstance(round_, list) or len(round_) != 2:
            raise ValueError(Message('"history" is not a list of [question, answer]; expected one'))
        if not all(isinstance(text, str) for text in round_):
            raise ValueError(Message('"history" is not a list of [question, answer]; expected one'))
        turns += [Turn("user", round_[0]), Turn("assistant", round_[1])]
    return tuple(turns)


def says_something(turn: Turn) -> bool:
    """Whether there is any text, thought or call in a turn."""
    return bool(turn.content.strip() or turn.extra.get("tool_calls") or _thought(turn))


def _thought(turn: Turn) -> str:
    return str(turn.extra.get("reasoning_content") or "").strip()


def parse_turn(row: Any, place: str) -> Turn:
    """One turn; `place` is where it stands, for the ValueError where it isn't one."""
    if not isinstance(row, dict):
        raise ValueError(
            Message('{place}: not an object; expected {"role", "content"}', place=place)
        )
    role = _first(row, ROLE_KEYS)
    if role is None:
        raise ValueError(
            Message(
                '{place}: no "role"; expected {"role", "content"}, {shape_of}',
                place=place,
                shape_of=shape_of(row),
            )
        )
    if not isinstance(role, str) or role.lower() not in _ROLE_NAMES:
        named = json.dumps(role, ensure_ascii=False)[:40]
        raise ValueError(
            Message(
                "{place}: role {named}; expected one of {roles}",
                place=place,
                named=named,
                roles=[*ROLES],
            )
        )
    read = (*ROLE_KEYS, *CONTENT_KEYS, *THOUGHT_KEYS, *LEARNT_KEYS, "function_call")
    extra = {key: value for key, value in row.items() if value is not None and key not in read}
    if thought := _first(row, THOUGHT_KEYS):
        if not isinstance(thought, str):
            raise ValueError(
                Message('{place}: "reasoning_content" is not a string; expected text', place=place)
            )
        extra["reasoning_content"] = thought
    content = _first(row, CONTENT_KEYS)
    if row.get("function_call"):  # OpenAI's earlier form of one call.
        extra["tool_calls"] = [row["function_call"]]
    elif role.lower() == "function_call":
        extra["tool_calls"], content = _calls_in(content, place), ""
    for key in ("tools", "tool_calls"):
        if extra.get(key):
            extra[key] = _objects(extra[key], place, key)
        else:
            extra.pop(key, None)
    if not all(isinstance(_called(call), str) for call in extra.get("tool_calls", ())):
        raise ValueError(
            Message('{place}: a tool call has no name; expected {"name", "arguments"}', place=place)
        )
    if content is None and "tool_calls" not in extra:
        raise ValueError(Message('{place}: no "content"; expected text', place=place))
    text = _text("" if content is None else content, place)
    return Turn(_ROLE_NAMES[role.lower()], text, extra, _is_learnt(row, place))


def _is_learnt(row: dict[str, Any], place: str) -> bool:
    for key in LEARNT_KEYS:
        value = row.get(key)
        if value not in (None, 0, 1):
            raise ValueError(
                Message(
                    '{place}: "{key}" is neither 0 nor 1; expected one of them',
                    place=place,
                    key=key,
                )
            )
        if value is not None and not value:
            return False
    return True


def _calls_in(content: Any, place: str) -> list[dict[str, Any]]:
    """The calls that ShareGPT's `function_call` holds as JSON: one object or a list of them."""
    try:
        found = parse_json_row(content) if isinstance(content, str) else content
    except (json.JSONDecodeError, RecursionError):
        found = None
    return _objects([found] if isinstance(found, dict) else found, place, "function_call")


def _called(call: dict[str, Any]) -> Any:
    function = call.get("function", call)
    return function.get("name") if isinstance(function, dict) else None


def _first(row: dict[str, Any], keys: Sequence[str]) -> Any:
    return next((row[key] for key in keys if row.get(key) is not None), None)


def _text(content: Any, place: str) -> str:
    """Of a string, or of OpenAI's list of text parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(
        isinstance(part, dict) and isinstance(part.get("text"), str) for part in content
    ):
        return "".join(part["text"] for part in content)
    raise ValueError(
        Message("{place}: the content is neither a string nor a list of text parts", place=place)
    )


def _objects(value: Any, place: str, key: str) -> list[dict[str, Any]]:
    """A list of objects, given as such or, as MiniMind's files have it, as JSON in a string."""
    if isinstance(value, str):
        try:
            value = parse_json_row(value)
        except (json.JSONDecodeError, RecursionError):
            value = None
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return value
    raise ValueError(
        Message(
            '{place}: "{key}" is not a list of objects; expected one, or its JSON',
            place=place,
            key=key,
        )
    )


def _alpaca(row: dict[str, Any]) -> tuple[Turn, ...]:
    """`input` goes below the instruction."""
    for key in ("instruction", "output"):
        if key not in row:
            raise ValueError(Message('no "{key}"; {expected}', key=key, expected=EXPECTED))
        if not isinstance(row[key] or "", str):
            raise ValueError(Message('"{key}" is not a string; expected text', key=key))
    asked = _with_input(row["instruction"] or "", row)
    return Turn("user", asked), Turn("assistant", row["output"] or "")


def _with_input(asked: str, row: dict[str, Any]) -> str:
    below = row.get("input") or ""
    if not isinstance(below, str):
        raise ValueError(Message('"input" is not a string; expected text'))
    return "\n".join(filter(None, (asked, below)))


if __name__ == "__main__":
    rows = (
        '{"conversations": [{"role": "user", "content": "你好"}, '
        '{"role": "assistant", "content": "你好！"}]}',
        '{"messages": [{"role": "user", "content": "1 + 1?"}, '
        '{"role": "assistant", "content": "2"}]}',
        '{"instruction": "Add.", "input": "2 3", "output": "5"}',
    )
    with tempfile.TemporaryDirectory() as scratch:
        demo = Path(scratch, "demo.jsonl")
        demo.write_text("\n".join(rows), encoding="utf-8")
        chats = list(read_conversations(str(demo), val_fraction=0))
    for chat in chats:
        print([f"{turn.role}: {turn.content}" for turn in chat.turns])
    assert len(chats) == 3
    refused: tuple[dict[str, Any], ...] = (
        {"text": "x"},
        {"messages": []},
        {"messages": [{"role": "user", "content": "Hello?"}]},
    )
    for bad in refused:
        try:
            parse_conversation(bad)
        except ValueError as error:
            print(error)
    print("=== 自测通过 ===")
