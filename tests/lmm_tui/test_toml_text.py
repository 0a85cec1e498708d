"""TOML of a stranger is parsed as `tomllib` does it, or refused at once."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from lmm_tui.toml_text import TomlError, parse_toml

VALUES = st.recursive(
    st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_what_tomllib_reads_is_read_the_same(tables: dict[str, Any]) -> None:
    text = tomli_w.dumps(tables)
    assert parse_toml(text) == tomllib.loads(text) == tables


BAD = {
    "a dotted key": f"a{'.a' * 100_000} = 1",
    "a quoted one": "a = 1\n" + "'a' . " * 100_000 + '"b" = 1',
    "a table": f"[a{'.a' * 100_000}]",
    "in an inline table": f"x = {{ a{'.a' * 100_000} = 1 }}",
    "nested arrays": "a = " + "[" * 100_000,
    "nested tables": "a = " + "{a = " * 100_000,
    "many digits": "a = " + "9" * 9999,
    "no TOML": "a = ",
    "one word of 10 MB": "a" * (10 << 20),
    "quotes": "\"'" * (1 << 20),
    "spaces": "a" + " " * (4 << 20) + "b",
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_it_cannot_take_is_one_error_at_once(text: str) -> None:
    with pytest.raises(TomlError) as refusal:
        parse_toml(text)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_text_with_dots_is_no_key() -> None:
    text = 'a = "' + "e.g. one, two. " * 200 + '"'
    assert parse_toml(text) == tomllib.loads(text)
