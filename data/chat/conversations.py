"""Conversations to learn from: the built-in ones, or the user's in MiniMind's, OpenAI's or Alpaca's
form, recognised row by row.

It knows what the fields mean and says what was expected where they don't fit; it knows no
template and no tokens.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from lmm_tui.data.builtin import tasks
from lmm_tui.data.builtin.holdout import Split, split
from lmm_tui.data.builtin.task import KINDS
from lmm_tui.data.text.corpus import BUILTIN
from lmm_tui.data.text.dataset import Dataset, from_files, shape_of
from lmm_tui.data.turns import ROLES, Conversation, Turn, question

Chats = Dataset[Conversation]

EXPECTED = (
    'expected {"conversations": […]}, {"messages": […]} or '
    '{"instruction", "output", optionally "input", "system"}'
)

_ROLE_NAMES = {role: role for role in ROLES} | {
    "human": "user",
    "gpt": "assistant",
    "developer": "system",
    "function": "tool",
    "observation": "tool",
}
_ROLE_KEYS, _CONTENT_KEYS = ("role", "from"), ("content", "value")


def read_conversations(
    source: str,
    *,
    side: Split = "train",
    val_fraction: float = 0.05,
    kinds: Sequence[str] = KINDS,
) -> Chats:
    """One side of `builtin`, or of .json and .jsonl files, a folder or a glob of them.

    Of files, `val_fraction` is held out, by a hash of what is asked before the first answer: equal
    questions stay on one side. The built-in conversations have a split of their own, and `kinds`.
    """
    if source == BUILTIN:
        return Dataset(lambda _: tasks.conversations(side, kinds=kinds))
    return from_files(
        source,
        parse_conversation,
        lambda found: split(question(found.turns), val_fraction) == side,
    )


def parse_conversation(row: dict[str, Any]) -> Conversation:
    """What a row holds; ValueError says what was expected where it is no conversation."""
    if "instruction" in row:
        turns = _alpaca(row)
    else:
        for key in ("conversations", "messages"):
            if key in row:
                turns = parse_turns(row[key], key, row.get("tools"))
                break
        else:
            raise ValueError(f"{EXPECTED}; {shape_of(row)}")
    if not any(turn.role == "assistant" for turn in turns):
        raise ValueError("no assistant turn, so nothing to learn from; expected one at least")
    if not any(turn.role == "assistant" and says_something(turn) for turn in turns):
        raise ValueError("every assistant turn is empty; expected one that says something")
    return Conversation(turns)


def parse_turns(rows: Any, key: str, tools: Any = None) -> tuple[Turn, ...]:
    """The turns of a list of objects; `tools` are those given beside it.

    `key` is where the list stands. Raises ValueError where it is empty or isn't such a list.
    """
    if not isinstance(rows, list):
        raise ValueError(f'"{key}" is not a list; expected a list of turns')
    if not rows:
        raise ValueError(f'"{key}" is empty; expected one turn at least')
    turns = tuple(_turn(row, f'"{key}", turn {at}') for at, row in enumerate(rows, start=1))
    if tools is None:
        return turns
    first = turns[0] if turns[0].role == "system" else Turn("system", "")
    given = {**first.extra, "tools": _objects(tools, f'"{key}"', "tools")}
    return Turn("system", first.content, given), *turns[first is turns[0] :]


def says_something(turn: Turn) -> bool:
    """Whether there is any text, thought or call in a turn."""
    return bool(turn.content.strip() or turn.extra.get("tool_calls") or _thought(turn))


def _thought(turn: Turn) -> str:
    return str(turn.extra.get("reasoning_content") or "").strip()


def _turn(row: Any, place: str) -> Turn:
    if not isinstance(row, dict):
        raise ValueError(f'{place}: not an object; expected {{"role", "content"}}')
    role = _first(row, _ROLE_KEYS)
    if role is None:
        raise ValueError(f'{place}: no "role"; expected {{"role", "content"}}, {shape_of(row)}')
    if not isinstance(role, str) or role.lower() not in _ROLE_NAMES:
        named = json.dumps(role, ensure_ascii=False)[:40]
        raise ValueError(f"{place}: role {named}; expected one of {', '.join(ROLES)}")
    extra = {
        key: value
        for key, value in row.items()
        if value is not None and key not in _ROLE_KEYS + _CONTENT_KEYS
    }
    if not isinstance(extra.get("reasoning_content", ""), str):
        raise ValueError(f'{place}: "reasoning_content" is not a string; expected text')
    for key in ("tools", "tool_calls"):
        if extra.get(key):
            extra[key] = _objects(extra[key], place, key)
        else:
            extra.pop(key, None)
    if not all(isinstance(_called(call), str) for call in extra.get("tool_calls", ())):
        raise ValueError(f'{place}: a tool call has no name; expected {{"name", "arguments"}}')
    content = _first(row, _CONTENT_KEYS)
    if content is None and "tool_calls" not in extra:
        raise ValueError(f'{place}: no "content"; expected text')
    return Turn(_ROLE_NAMES[role.lower()], _text("" if content is None else content, place), extra)


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
    raise ValueError(f"{place}: the content is neither a string nor a list of text parts")


def _objects(value: Any, place: str, key: str) -> list[dict[str, Any]]:
    """A list of objects, given as such or, as MiniMind's files have it, as JSON in a string."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            value = None
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return value
    raise ValueError(f'{place}: "{key}" is not a list of objects; expected one, or its JSON')


def _alpaca(row: dict[str, Any]) -> tuple[Turn, ...]:
    """`input` goes below the instruction; `system` comes first."""
    for key in ("instruction", "output", "input", "system"):
        optional = key in {"input", "system"}
        if key not in row and not optional:
            raise ValueError(f'no "{key}"; {EXPECTED}')
        if not isinstance(row.get(key) or "", str):
            raise ValueError(f'"{key}" is not a string; expected text')
    asked = "\n".join(filter(None, (row["instruction"], row.get("input"))))
    said = Turn("user", asked), Turn("assistant", row["output"] or "")
    return (Turn("system", row["system"]), *said) if row.get("system") else said


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
