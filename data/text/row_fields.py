"""The fields of rows: what is read, what is refused by name, and what has no effect here.

Other tools give some fields a meaning that changes what is learnt; a row that sets one of those is
refused rather than read without it. Fields that only describe a row are collected, to be listed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from lmm_tui.message import Message

TEXT_FIELDS = frozenset({"text", "weight"})
CONTEXT = frozenset({"system", "history", "tools"})
"""Fields beside the turns that belong in front of them."""
ASKED = frozenset({"prompt", "conversations", "messages", "instruction", "input"}) | CONTEXT
CONVERSATION_FIELDS = (ASKED - {"prompt"}) | {"output", "label"}
PAIR_FIELDS = ASKED | {"chosen", "rejected"}
LABEL_KEYS = ("label", "kto_tag")
LABELLED_FIELDS = PAIR_FIELDS | {"output", "completion", *LABEL_KEYS}
PROMPT_FIELDS = ASKED | {"answer"}

ROLE_KEYS, CONTENT_KEYS = ("role", "from"), ("content", "value")
THOUGHT_KEYS = ("reasoning_content", "reasoning", "thinking")
LEARNT_KEYS = ("weight", "train", "loss")
"""Of a turn: whether it is learnt, as OpenAI's, axolotl's and ms-swift's files say it."""
_TURN_FIELDS = {*ROLE_KEYS, *CONTENT_KEYS, *THOUGHT_KEYS, *LEARNT_KEYS} | {
    "tools",
    "tool_calls",
    "function_call",
}
_LISTS = ("conversations", "messages", "prompt", "completion", "chosen", "rejected")

_MEDIA = ("image", "images", "video", "videos", "audio", "audios")
_UNSUPPORTED = ("documents", "chat_template_kwargs")
UNSUPPORTED_FIELDS = frozenset({*_MEDIA, *_UNSUPPORTED, "weight"})
"""Fields of a row that are looked at only to be refused."""


def shape_of(row: dict[str, Any]) -> str:
    """The keys of a row, for a sentence about what was found instead of what was expected."""
    keys = [json.dumps(key, ensure_ascii=False) for key in list(row)[:6]]
    return Message("found {keys}", keys=keys) if keys else Message("found an empty object")


def refuse_unsupported(row: Mapping[str, Any]) -> None:
    """Raise ValueError where a row, or one of its turns, has what would change what is learnt."""
    for fields in _turns(row):
        _refuse_media(fields)
    for key in _UNSUPPORTED:
        if row.get(key):
            raise ValueError(
                Message('"{key}" is not supported; write it into the turns or remove it', key=key)
            )
    refuse_unlearnable(row)


def refuse_unlearnable(row: Mapping[str, Any]) -> None:
    """The same for the fields of any row."""
    _refuse_media(row)
    if row.get("weight", 1) not in (None, 1):
        raise ValueError(
            Message('"weight" of a row is not supported; repeat rows, or leave some out')
        )


def _refuse_media(fields: Mapping[str, Any]) -> None:
    for key in _MEDIA:
        if fields.get(key):
            raise ValueError(Message('"{key}": only text is learnt; leave such rows out', key=key))


def unused_fields(row: Mapping[str, Any], known: frozenset[str]) -> Iterator[str]:
    """The names of fields that have a value and no effect; those of turns as `messages[].name`."""
    yield from (key for key, value in row.items() if value is not None and key not in known)
    for place in _LISTS:
        if place in known and isinstance(row.get(place), list):
            for turn in row[place]:
                if isinstance(turn, dict):
                    found = (k for k, v in turn.items() if v is not None and k not in _TURN_FIELDS)
                    yield from (f"{place}[].{key}" for key in found)


def _turns(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for place in _LISTS:
        found = row.get(place)
        if isinstance(found, list):
            yield from (turn for turn in found if isinstance(turn, dict))


if __name__ == "__main__":
    demo = {"id": 7, "messages": [{"role": "user", "content": "Hello", "name": "Ann"}]}
    print([*unused_fields(demo, CONVERSATION_FIELDS)])
    assert [*unused_fields(demo, CONVERSATION_FIELDS)] == ["id", "messages[].name"]
    try:
        refuse_unsupported({**demo, "images": ["a.png"]})
    except ValueError as error:
        print(error)
    print("=== 自测通过 ===")
