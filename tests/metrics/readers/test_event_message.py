"""Single TensorBoard events are read as tensorboard itself reads them; odd bytes are refused."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.compat.proto.event_pb2 import Event as TensorBoardEvent
from tensorboard.compat.proto.event_pb2 import SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.util.tensor_util import make_ndarray, make_tensor_proto

from lmm_tui.metrics.readers.event_message import MessageError, read_event

KINDS = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "?"]


def event_of(value: Summary.Value, step: int = 7) -> bytes:
    event = TensorBoardEvent(step=step, wall_time=12.5, summary=Summary(value=[value]))
    return event.SerializeToString()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
@pytest.mark.parametrize("number", [0, 1, 3, -2])
def test_a_tensor_of_one_value_has_it_in_any_type(kind: str, shape: tuple, number: int) -> None:
    array = np.full(shape, number).astype(kind)
    proto = make_tensor_proto(array)
    [(tag, read)] = read_event(event_of(Summary.Value(tag="a/b", tensor=proto))).scalars
    assert (tag, read) == ("a/b", float(make_ndarray(proto).item()))


def test_values_that_are_listed_one_by_one_are_read_too() -> None:
    for field, kind, value in [("float_val", 1, 1.5), ("double_val", 2, -2.5), ("int_val", 3, -4)]:
        proto = make_tensor_proto(0.0)
        proto.Clear()
        proto.dtype = kind
        getattr(proto, field).append(value)
        assert read_event(event_of(Summary.Value(tag="x", tensor=proto))).scalars == (("x", value),)


def test_tensors_of_more_values_and_of_text_have_no_number() -> None:
    for content in (np.zeros(2), "words"):
        proto = make_tensor_proto(content)
        assert read_event(event_of(Summary.Value(tag="x", tensor=proto))).scalars == ()


@given(st.integers(-(2**63), 2**63 - 1), st.floats(width=32), st.text(max_size=20))
def test_an_event_says_what_was_written(step: int, number: float, tag: str) -> None:
    event = read_event(event_of(Summary.Value(tag=tag, simple_value=number), step))
    [(found, value)] = event.scalars
    assert (event.step, event.wall_time, found) == (step, 12.5, tag)
    assert value == number or (math.isnan(value) and math.isnan(number))


def test_a_session_start_is_seen() -> None:
    start = TensorBoardEvent(step=40, session_log=SessionLog(status=SessionLog.START))
    assert read_event(start.SerializeToString()).starts_session
    assert not read_event(event_of(Summary.Value(tag="x", simple_value=1))).starts_session


@given(st.binary(max_size=80))
def test_any_bytes_are_an_event_or_refused(data: bytes) -> None:
    with contextlib.suppress(MessageError):
        read_event(data)
