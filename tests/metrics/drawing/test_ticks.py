"""Ticks are round, labels short, alike and true."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm_tui.metrics.drawing.ticks import (
    clock_label,
    clock_ticks,
    count_label,
    log_ticks,
    round_decades,
    round_end,
    round_range,
    round_step,
    round_ticks,
    tick_labels,
    whole_ticks,
    x_ticks,
    y_ticks,
)

SPAN = st.tuples(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))


def is_round(step: float) -> bool:
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    return any(math.isclose(mantissa, good, rel_tol=1e-9) for good in (1, 2, 2.5, 5))


@given(st.floats(1e-12, 1e15), st.integers(1, 30))
def test_steps_are_round_and_few_enough(span: float, most: int) -> None:
    step = round_step(span, most)
    assert is_round(step)
    assert span / step <= most * (1 + 1e-6)


@given(SPAN, st.integers(1, 20))
def test_ticks_lie_in_the_range(ends: tuple[float, float], most: int) -> None:
    low, high = ends[0], ends[0] + ends[1]
    ticks = round_ticks(low, high, most)
    slack = 1e-6 * (high - low) + 1e-9 * abs(low)
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    assert len(ticks) <= most + 1


@given(st.floats(0, 1e6), st.floats(0.5, 1e6), st.integers(1, 30))
def test_steps_and_tokens_are_counted_in_whole_numbers(low: float, span: float, most: int) -> None:
    ticks = whole_ticks(low, low + span, most)
    assert all(tick.is_integer() for tick in ticks) and len(ticks) <= 2 * most + 1
    assert ticks == sorted(set(ticks))


def test_ticks_have_no_binary_noise() -> None:
    assert round_ticks(0, 0.5, 5) == [0, 0.1, 0.2, 0.3, 0.4, 0.5]


@given(SPAN)
def test_round_ranges_hold_what_they_round(ends: tuple[float, float]) -> None:
    low, high = ends[0], ends[0] + ends[1]
    bottom, top = round_range(low, high)
    slack = 1e-9 * max(abs(low), abs(high))
    assert bottom <= low + slack and top >= high - slack and bottom < top


@pytest.mark.parametrize("value", [0.0, 0.3, -7.0, 1e-9, 1e12])
def test_a_constant_series_has_a_range(value: float) -> None:
    low, high = round_range(value, value)
    assert low < high and low <= value <= high


@given(st.floats(-10, 10), st.floats(0, 12))
def test_round_decades_hold_what_they_round(low: float, span: float) -> None:
    bottom, top = round_decades(low, low + span)
    assert bottom <= low + 1e-6 and top >= low + span - 1e-6 and bottom < top


@pytest.mark.parametrize(
    ("low", "high", "most", "ticks"),
    [
        (1, 1000, 10, [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]),
        (1, 1000, 5, [1, 10, 100, 1000]),
        (3, 9e6, 4, [100, 1e4, 1e6]),
        (1e-5, 1e-2, 4, [1e-5, 1e-4, 1e-3, 1e-2]),
    ],
)
def test_log_ticks(low: float, high: float, most: int, ticks: list[float]) -> None:
    assert log_ticks(low, high, most) == pytest.approx(ticks)


def test_a_narrow_log_axis_has_ticks_too() -> None:
    assert log_ticks(2.1, 4.8, 5) == [3, 4]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0, 500, 1000, 1500], ["0", "500", "1000", "1500"]),
        ([0, 20_000, 40_000], ["0", "20k", "40k"]),
        ([1.5e6, 2e6, 2.5e6], ["1.5M", "2.0M", "2.5M"]),
        ([2.5, 3.0, 3.5], ["2.5", "3.0", "3.5"]),
        ([0, 1e-4, 2e-4], ["0", "1e-4", "2e-4"]),
        ([0, 2.5e-4, 5e-4], ["0", "2.5e-4", "5.0e-4"]),
        ([-0.5, 0, 0.5], ["-0.5", "0", "0.5"]),
        ([0.99991, 0.99992], [".99991", ".99992"]),
        ([0.0], ["0"]),
        ([1e30, 2e30], ["1e30", "2e30"]),
    ],
)
def test_labels_are_short_and_alike(values: list[float], labels: list[str]) -> None:
    assert tick_labels(values, 6) == labels


def test_labels_that_cannot_be_told_apart_are_refused() -> None:
    assert tick_labels([123456.1, 123456.2], 6) is None


@pytest.mark.parametrize(
    ("value", "end"),
    [(0, 1), (1, 1), (7, 8), (101, 120), (1201, 1500), (8001, 10_000), (1e6, 1e6)],
)
def test_an_axis_grows_in_round_steps(value: float, end: float) -> None:
    assert round_end(value) == end


@given(st.floats(1, 1e9))
def test_an_axis_holds_its_data_and_little_more(last: float) -> None:
    assert last <= round_end(last) <= 1.34 * last


@pytest.mark.parametrize(
    ("value", "label"),
    [(0, "0"), (500, "500"), (1500, "1.5k"), (12_500, "12.5k"), (3e6, "3M"), (2.5e9, "2.5G")],
)
def test_counts(value: float, label: str) -> None:
    assert count_label(value) == label


@pytest.mark.parametrize(
    ("seconds", "label"),
    [
        *((0, "0"), (45, "45s"), (60, "1m"), (90, "1m30"), (3600, "1h"), (4500, "1h15")),
        *((86_400, "1d"), (90_000, "1d1h"), (-30, "-30s")),
    ],
)
def test_durations(seconds: float, label: str) -> None:
    assert clock_label(seconds) == label


def test_clock_ticks_go_by_the_clock() -> None:
    assert clock_ticks(0, 7200, 4) == [0, 1800, 3600, 5400, 7200]
    assert clock_ticks(0, 90, 3) == [0, 30, 60, 90]


@given(st.floats(1, 1e12), st.integers(12, 300), st.sampled_from(["step", "tokens", "time"]))
def test_labels_under_an_axis_never_touch(end: float, width: int, axis: str) -> None:
    ticks = x_ticks(0, end, width, axis)  # type: ignore[arg-type]
    right = -2
    for value, label in ticks:
        at = round(value / end * (width - 1)) - len(label) // 2
        assert at > right
        right = at + len(label)


@given(st.floats(-1e5, 1e5), st.floats(1e-2, 1e5), st.integers(2, 60))
def test_labels_beside_an_axis_fit_the_gutter(low: float, span: float, height: int) -> None:
    ticks = y_ticks(low, low + span, height, 6)
    assert all(len(label) <= 6 for _, label in ticks)
    assert len({label for _, label in ticks}) == len(ticks) <= height
