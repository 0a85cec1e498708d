"""Dots become the right characters, lines have no holes, and every terminal gets a set it shows."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm_tui.charts.braille import (
    ASCII,
    BRAILLE,
    HALVES,
    GlyphSet,
    glyphs_for,
    line_spans,
    span_patterns,
    text_of,
)


def text(rows: list[str], glyphs: GlyphSet) -> str:
    """What dots come out as, drawn a dot row at a time: spans of one dot."""
    shown = np.zeros((len(rows) // glyphs.rows, len(rows[0]) // glyphs.columns), np.uint8)
    for at, row in enumerate(rows):
        span = np.array([at if char == "#" else np.nan for char in row], float)
        shown |= span_patterns(span, span, len(shown), glyphs)
    return "\n".join(text_of(glyphs.codes[shown]))


def braille_dots(char: str) -> np.ndarray:
    """The dots of a braille character, after the numbering in the Unicode standard."""
    places = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (3, 0), (3, 1)]
    dots = np.zeros((4, 2), bool)
    for bit, place in enumerate(places):
        dots[place] = (ord(char) - 0x2800) >> bit & 1
    return dots


def test_every_braille_pattern_shows_its_dots() -> None:
    for pattern in range(1, 256):
        dots = np.array([pattern >> bit & 1 for bit in range(8)], bool).reshape(4, 2)
        rows = ["".join("#" if dot else "." for dot in row) for row in dots]
        np.testing.assert_array_equal(braille_dots(text(rows, BRAILLE)), dots)


@pytest.mark.parametrize(
    ("rows", "glyphs", "shown"),
    [
        (["#.#", "..#"], HALVES, "▀ █"),
        (["...", "#.#"], HALVES, "▄ ▄"),
        (["#.#", "..#"], ASCII, "' :"),
        (["...", "#.#"], ASCII, ". ."),
    ],
)
def test_the_coarser_sets(rows: list[str], glyphs: GlyphSet, shown: str) -> None:
    assert text(rows, glyphs) == shown


@given(st.lists(st.floats(-3, 40) | st.just(float("nan")), min_size=1, max_size=60))
def test_a_line_meets_its_points_and_has_no_holes(rows: list[float]) -> None:
    row = np.array(rows)
    top, bottom = line_spans(row)
    known = np.flatnonzero(np.isfinite(row))
    if not len(known):
        assert np.isnan(top).all() and np.isnan(bottom).all()
        return
    at = np.rint(row[known])
    assert ((top[known] <= at) & (at <= bottom[known])).all()
    inside = slice(known[0], known[-1] + 1)
    assert (top[inside] <= bottom[inside]).all()
    # Neighbours touch: at most one dot row apart, as diagonal dots are.
    gap = np.maximum(top[inside][1:], top[inside][:-1]) - np.minimum(
        bottom[inside][1:], bottom[inside][:-1]
    )
    assert (gap <= 1).all()
    outside = np.ones(len(row), bool)
    outside[inside] = False
    assert np.isnan(top[outside]).all() and np.isnan(bottom[outside]).all()


def test_a_steep_line_is_one_dot_wide() -> None:
    top, bottom = line_spans(np.array([20.0, 0.0]))
    assert int((bottom - top + 1).sum()) == 21


@given(st.lists(st.tuples(st.integers(-9, 30), st.integers(-9, 30)), min_size=2, max_size=40))
def test_spans_become_the_dots_between_their_ends(ends: list[tuple[int, int]]) -> None:
    ends = ends[: len(ends) // 2 * 2]
    top, bottom = np.array(ends, float).T
    for glyphs in (BRAILLE, HALVES, ASCII):
        shown = span_patterns(top, bottom, 5, glyphs)
        for column, (first, last) in enumerate(ends):
            cell, bit = divmod(column, glyphs.columns)
            set_rows = [
                row
                for row in range(5 * glyphs.rows)
                if shown[row // glyphs.rows, cell] >> (row % glyphs.rows * glyphs.columns + bit) & 1
            ]
            assert set_rows == [row for row in range(5 * glyphs.rows) if first <= row <= last]


@pytest.mark.parametrize(
    ("encoding", "term", "glyphs"),
    [
        ("utf-8", "xterm-256color", BRAILLE),
        ("UTF-8", "linux", HALVES),
        ("ascii", "xterm-256color", ASCII),
        ("latin-1", "linux", ASCII),
    ],
)
def test_the_terminal_decides_the_glyphs(
    monkeypatch: pytest.MonkeyPatch, encoding: str, term: str, glyphs: GlyphSet
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")
    assert glyphs_for(io.TextIOWrapper(io.BytesIO(), encoding=encoding)) is glyphs


@pytest.mark.parametrize("locale", ["C", "POSIX", "de_DE.ISO-8859-1", "zh_CN.GB18030"])
def test_a_locale_that_is_not_utf_8_means_ascii_whatever_python_writes(
    monkeypatch: pytest.MonkeyPatch, locale: str
) -> None:
    monkeypatch.setenv("LC_ALL", locale)
    assert glyphs_for(io.TextIOWrapper(io.BytesIO(), encoding="utf-8")) is ASCII


def test_the_ascii_set_is_ascii() -> None:
    frame = (ASCII.vertical, ASCII.horizontal, ASCII.corner, ASCII.tick_x, ASCII.tick_y)
    marks = (ASCII.above, ASCII.nonfinite, ASCII.swatch, ASCII.patterns)
    assert all(part.isascii() for part in frame + marks)
