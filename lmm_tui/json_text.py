"""JSON that may come from a stranger: a key that stands twice in one object is an error.

`json` and `orjson` keep the last value of such a key and say nothing.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from lmm_tui.message import Message

_KEY = re.compile(rb'"\s*:')
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}:\n]')


class RepeatedKeyError(ValueError):
    """A key that stands twice in one object, and the line (from 1) of the second time."""

    def __init__(self, key: str, line: int) -> None:
        super().__init__(Message('the key "{key}" stands twice; leave one out', key=key))
        self.line = line


def parse_json_row(raw: bytes | str) -> Any:
    """The value of strict JSON, fast; RepeatedKeyError, or what `orjson.loads` raises."""
    found = orjson.loads(raw)
    if may_repeat_keys(raw if isinstance(raw, bytes) else raw.encode(), found):
        parse_json(raw)
    return found


def parse_json(raw: bytes | str) -> Any:
    """The value of JSON that may hold NaN; RepeatedKeyError, or what `json.loads` raises."""
    try:
        return json.loads(raw, object_pairs_hook=_unique)
    except _RepeatedError:
        text = raw if isinstance(raw, str) else raw.decode(json.detect_encoding(raw))
        raise _first_repeated(text) from None


def may_repeat_keys(raw: bytes, value: Any) -> bool:
    """Whether a key may stand twice in `raw`, UTF-8 text that was parsed to `value`.

    A text that quotes JSON looks as if it had further keys; `parse_json` knows, but costs more.
    """
    return len(_KEY.findall(raw)) != _keys_in(value)


class _RepeatedError(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _RepeatedError
    return found


def _keys_in(value: Any) -> int:
    count, waiting = 0, [value]
    while waiting:
        inner: Any = waiting.pop()
        if isinstance(inner, dict):
            count += len(inner)
            waiting += inner.values()
        elif isinstance(inner, list):
            waiting += inner
    return count


def _first_repeated(text: str) -> RepeatedKeyError:
    """The first in a valid text that has one."""
    line, string = 1, ""
    open_objects: list[set[str]] = []
    for match in _TOKENS.finditer(text):
        token = match[0]
        if token == "\n":
            line += 1
        elif token == "{":
            open_objects.append(set())
        elif token == "}":
            open_objects.pop()
        elif token == ":":
            if (key := json.loads(string)) in open_objects[-1]:
                return RepeatedKeyError(key, line)
            open_objects[-1].add(key)
        else:
            string = token
    raise AssertionError("no key stands twice")


if __name__ == "__main__":
    for text in (b'{"a": {"b": 1},\n "b": [{"a": 2}, {"a": ": {"}]}', b'{"a": 1,\n "\\u0061": 2}'):
        try:
            print(parse_json(text), may_repeat_keys(text, json.loads(text)))
        except RepeatedKeyError as error:
            print(error.line, error)
    print("=== 自测通过 ===")
