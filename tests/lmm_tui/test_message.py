"""A message is its English text, and keeps template and values through errors, JSON and pickle."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm_tui.errors import LmmError
from lmm_tui.message import Message, with_messages, with_parts

LEFT_OUT = Message("loss is {loss}, gradient norm {norm}: step left out", loss=float("nan"), norm=2)


def read_back(record: dict) -> dict:
    return with_messages(json.loads(json.dumps(with_parts(record), allow_nan=False)))


def test_an_error_is_its_english_text_with_template_and_values() -> None:
    error = LmmError("{path}: {why}", path=Path("a.txt"), why=LmmError("took {s:.1f} s", s=2))
    assert str(error) == "a.txt: took 2.0 s"
    assert error.message.template == "{path}: {why}"
    assert error.message.values["path"] == "a.txt"
    assert error.message.values["why"].values == {"s": 2}
    assert str(error).template == error.message.template  # type: ignore[attr-defined]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copy_keeps_template_and_values(copied) -> None:
    message = copied(LEFT_OUT)
    assert (message, message.template, message.values) == (
        LEFT_OUT,
        LEFT_OUT.template,
        LEFT_OUT.values,
    )


def test_what_has_no_value_is_text() -> None:
    assert Message('expected {"a": […]} or {b}') == 'expected {"a": […]} or {b}'
    assert Message("{a.__class__} {0} {{x}} {a}", a="{x}", x="y") == "{a.__class__} {0} {y} {x}"


@pytest.mark.parametrize(
    "value", ["x", 3, None, float("nan"), (1, "a"), ["a"], {"a": 1}, Path("x")]
)
def test_a_quoted_value_is_as_python_has_it(value: object) -> None:
    assert Message("got {value!r}", value=value) == f"got {value!r}"


@given(st.text(), st.text(), st.lists(st.text()), st.integers(-(2**62), 2**62))
def test_values_come_back_from_json_whatever_they_are(
    name: str, text: str, names: list[str], number: int
) -> None:
    inner = Message("{text} and {names}", text=text, names=names)
    outer = Message("{name!r} has {number:,}: {inner}", name=name, number=number, inner=inner)
    found = read_back(
        {"message": outer, "verdict": {"text": inner, "step": 3}, "notes": [outer, "x"]}
    )
    assert found == {"message": outer, "verdict": {"text": inner, "step": 3}, "notes": [outer, "x"]}
    assert found["message"].values == outer.values
    assert found["verdict"]["text"].values["names"] == names
    assert isinstance(found["notes"][0], Message) and not isinstance(found["notes"][1], Message)


@pytest.mark.parametrize(
    "parts",
    [
        None,
        "x",
        {},
        {"template": 3, "values": {}},
        {"template": "loss is nan", "values": []},
        {"template": "another text", "values": {}},
        {"template": "{loss:.2f}", "values": {"loss": "no number"}},
        {"template": "{loss:9999999999d}", "values": {"loss": 1}},
        {"template": "{a}", "values": {"a": {"template": "{a}", "values": {"a": {}}}}},
    ],
)
def test_parts_that_do_not_give_the_text_are_ignored(parts: object) -> None:
    found = with_messages({"message": "loss is nan", "message_parts": parts})
    assert found == {"message": "loss is nan"}
    assert type(found["message"]) is str


def test_parts_within_parts_without_end_are_ignored() -> None:
    parts: dict = {"template": "x", "values": {}}
    for _ in range(900):
        parts = {"template": "{a}", "values": {"a": parts}}
    assert type(with_messages({"message": "x", "message_parts": parts})["message"]) is str


def test_a_record_without_parts_is_read_as_it_is() -> None:
    record = {"message": "loss is nan", "step": 3, "args": {"lr": 1}, "spare_parts": 7}
    assert with_messages(record) == record


def test_the_reason_of_the_operating_system_is_a_message() -> None:
    try:
        Path("/nowhere/at/all").read_text()
    except OSError as error:
        message = Message("{error}", error=error)
        assert message == str(error)
        assert message.values["error"].values["why"].template == "No such file or directory"
