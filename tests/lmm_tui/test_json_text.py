"""A key that stands twice in one object is found, and nothing else is taken for one."""

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm_tui.json_text import RepeatedKeyError, may_repeat_keys, parse_json, parse_json_row

KEYS = st.sampled_from(["a", "b", 'a"', '": ', "\\", "é"])
VALUES = st.recursive(
    st.none() | st.integers(-9, 9) | KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(KEYS, inner), max_size=4),
    max_leaves=8,
)


def written(value, space):
    """JSON of a value in which a list of pairs stands for an object; and how many are repeated."""
    if isinstance(value, list) and value and all(isinstance(pair, tuple) for pair in value):
        inner = [(key, *written(item, space)) for key, item in value]
        text = ",".join(f"{json.dumps(key)}{space}:{space}{item}" for key, item, _ in inner)
        repeated = len(value) - len({key for key, _ in value})
        return f"{{{text}}}", repeated + sum(count for _, _, count in inner)
    if isinstance(value, list):
        inner = [written(item, space) for item in value]
        return "[" + ",".join(text for text, _ in inner) + "]", sum(count for _, count in inner)
    return json.dumps(value, ensure_ascii=False), 0


@settings(deadline=None)
@given(VALUES, st.sampled_from(["", " ", "\n"]))
def test_a_repeated_key_is_found(value, space):
    text, repeated = written(value, space)
    raw = text.encode()
    if repeated:
        assert may_repeat_keys(raw, orjson.loads(raw))
        for parse in (parse_json, parse_json_row):
            with pytest.raises(RepeatedKeyError, match="stands twice"):
                parse(raw)
    else:
        assert parse_json(raw) == parse_json_row(raw) == json.loads(raw)


def test_the_second_of_two_is_placed():
    with pytest.raises(RepeatedKeyError, match='the key "x" stands twice') as refusal:
        parse_json(b'{"x": {"x": 1},\n"y": [{"x": "}"}],\n\n"\\u0078": 3}')
    assert refusal.value.line == 4


def test_a_text_without_quoted_keys_is_not_read_twice():
    row = {"text": 'Once: "upon" a time', "n": [{"role": "user"}, {"role": "user"}]}
    assert not may_repeat_keys(json.dumps(row).encode(), row)
