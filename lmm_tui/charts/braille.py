"""Dots into characters: spans of dots to cells of braille, half blocks or ASCII, all in numpy.

A curve is a span of dots per dot column, and so is a band, a line and a mark; dot row 0 is the
top. It knows no data, no axis and no widget.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from lmm_tui.metrics.series.growing_array import Floats
from lmm_tui.terminal import capabilities

Patterns = NDArray[np.uint8]
"""Which dots of each cell are set; (rows, columns) of cells."""

Codes = NDArray[np.uint32]
"""Unicode code points, (rows, columns) of cells."""


@dataclass(frozen=True)
class GlyphSet:
    """Characters that a terminal can show: for patterns of dots, and for what frames them."""

    name: str
    columns: int
    """Dots across a cell."""
    rows: int
    """Dots down a cell."""
    patterns: str
    """The character for each pattern; dot (row, column) is bit row * columns + column."""
    vertical: str = "│"
    horizontal: str = "─"
    corner: str = "└"
    tick_y: str = "┤"
    tick_x: str = "┬"
    above: str = "▲"
    below: str = "▼"
    nonfinite: str = "x"
    alert: str = "◆"
    event: str = "◇"
    swatch: str = "━"

    @cached_property
    def codes(self) -> Codes:
        return np.array([ord(char) for char in self.patterns], np.uint32)

    @cached_property
    def spans(self) -> Patterns:
        """The pattern with the left dots from row `first` up to `end`, for all first and end.

        It stands at first * (rows + 1) + end.
        """
        table = np.zeros((self.rows + 1, self.rows + 1), np.uint8)
        for first in range(self.rows):
            for end in range(first + 1, self.rows + 1):
                table[first, end] = sum(1 << row * self.columns for row in range(first, end))
        return table.ravel()


def _braille() -> str:
    # Unicode numbers the upper 2x3 dots column by column, then the two at the bottom.
    bits = (0x01, 0x08, 0x02, 0x10, 0x04, 0x20, 0x40, 0x80)
    return " " + "".join(
        chr(0x2800 + sum(bit for place, bit in enumerate(bits) if pattern >> place & 1))
        for pattern in range(1, 256)
    )


BRAILLE = GlyphSet("braille", 2, 4, _braille(), nonfinite="╳")
HALVES = GlyphSet("halves", 1, 2, " ▀▄█", nonfinite="x", alert="♦", event="○", swatch="─")
"""All of it is in code page 437, which is what a Linux console has."""
ASCII = GlyphSet(
    name="ascii",
    columns=1,
    rows=2,
    patterns=" '.:",
    vertical="|",
    horizontal="-",
    corner="+",
    tick_y="+",
    tick_x="+",
    above="^",
    below="v",
    nonfinite="x",
    alert="!",
    event="*",
    swatch="-",
)


def glyphs_for(stream: TextIO | None = None) -> GlyphSet:
    """The finest set that comes out as itself on a stream; unset is stderr, where Textual draws."""
    stream = stream or sys.__stderr__
    if stream is None or not capabilities.has_unicode(stream):
        return ASCII
    return BRAILLE if capabilities.has_braille(stream) else HALVES


def line_spans(row: Floats) -> tuple[Floats, Floats]:
    """Spans of a line through the dot rows row[i] (NaN: unknown), joined to its neighbours.

    Gaps between known columns are bridged by straight lines; a column meets its neighbour half
    way, so that a steep line has no holes and is nowhere thicker than it is steep.
    """
    known = np.flatnonzero(np.isfinite(row))
    top, bottom = np.full((2, len(row)), np.nan)
    if not len(known):
        return top, bottom
    part = slice(known[0], known[-1] + 1)
    at = np.rint(np.interp(np.arange(part.start, part.stop), known, row[known]))
    # Between two columns the line turns at the middle: that dot belongs to the upper one.
    middle = (at[:-1] + at[1:]) // 2
    left_end = middle + (at[1:] < at[:-1])
    right_end = middle + (at[1:] > at[:-1])
    above, below = at.copy(), at.copy()
    for inner, end in ((slice(None, -1), left_end), (slice(1, None), right_end)):
        np.minimum(above[inner], end, out=above[inner])
        np.maximum(below[inner], end, out=below[inner])
    top[part], bottom[part] = above, below
    return top, bottom


def span_patterns(top: Floats, bottom: Floats, down: int, glyphs: GlyphSet) -> Patterns:
    """The patterns of `down` rows of cells where dot column i is set from row top[i] to bottom[i].

    Rows are whole numbers near the raster, both ends included; NaN is a column without dots, and
    what lies outside is cut. There are as many dot columns as whole cells have.
    """
    rows, columns = glyphs.rows, glyphs.columns
    known = top <= bottom
    start = np.where(known, top, 0).astype(np.int16)
    stop = np.where(known, bottom + 1, 0).astype(np.int16)
    cell = np.arange(0, down * rows, rows, dtype=np.int16)[:, None]
    first, end = start - cell, stop - cell
    for dot in (first, end):
        np.maximum(dot, 0, out=dot)
        np.minimum(dot, rows, out=dot)
    bits = glyphs.spans.take(first * (rows + 1) + end)
    patterns = bits[:, ::columns].copy()
    for column in range(1, columns):
        patterns |= bits[:, column::columns] << np.uint8(column)
    return patterns


def text_of(codes: Codes) -> list[str]:
    """Each row of cells as a string."""
    width = codes.shape[1]
    text = np.ascontiguousarray(codes, "<u4").tobytes().decode("utf-32-le")
    return [text[start : start + width] for start in range(0, len(text), width)]


if __name__ == "__main__":
    wave = 11.5 - 11 * np.sin(np.arange(120) / 12) * np.exp(-np.arange(120) / 80)
    for chosen in (BRAILLE, HALVES, ASCII):
        scaled = wave[:: 2 // chosen.columns] * (chosen.rows * 6 - 1) / 23
        shown = span_patterns(*line_spans(scaled), down=6, glyphs=chosen)
        print("\n".join(text_of(chosen.codes[shown])))
    full = span_patterns(np.zeros(2), np.full(2, 3.0), 1, BRAILLE)
    assert text_of(BRAILLE.codes[full]) == ["⣿"]
    print("=== 自测通过 ===")
