"""Sparklines are as wide as asked, and keep their spikes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm_tui.charts.sparkline import BLOCKS, MISSING, spark


@pytest.mark.parametrize(
    ("values", "width", "shown"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], 8, "▁▂▃▄▅▆▇█"),
        ([1.0, math.nan, 2.0], 8, "▁·█"),
        ([3.0, 3.0, 3.0], 8, "▄▄▄"),
        ([math.nan, math.inf], 4, "··"),
        ([-1e308, 1e308], 4, "▁█"),
        ([], 4, ""),
        ([1.0], 0, ""),
    ],
)
def test_shapes(values: list[float], width: int, shown: str) -> None:
    assert spark(np.array(values, float), width) == shown


def test_one_spike_in_a_thousand_values_is_seen() -> None:
    values = np.sin(np.arange(1000) / 100)
    values[617] = 9.0
    assert spark(values, 50)[617 // 20] == "█"


@given(st.lists(st.floats(), max_size=100), st.integers(-1, 40))
def test_it_fits_and_has_only_its_glyphs(values: list[float], width: int) -> None:
    line = spark(np.array(values, float), width)
    assert len(line) == min(len(values), max(width, 0))
    assert set(line) <= set(BLOCKS + MISSING)
