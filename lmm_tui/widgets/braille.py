"""Dots into characters: spans of dots to cells of braille, quadrants or ASCII, all in numpy.

A raster is a boolean array of dots; dot row 0 is the top. A curve on a raster is a span of dots
per dot column, and so is a band, a line and a mark. It knows no data, no axis and no widget.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from lmm_tui import terminal
from metrics.column import Floats, Ints

Dots = NDArray[np.bool_]
"""(rows, columns) of a raster, or of the cells that it covers."""

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
    nonfinite: str = "x"
    swatch: str = "━"

    @cached_property
    def codes(self) -> Codes:
        return np.array([ord(char) for char in self.patterns], np.uint32)


def _braille() -> str:
    # Unicode numbers the upper 2x3 dots column by column, then the two at the bottom.
    bits = (0x01, 0x08, 0x02, 0x10, 0x04, 0x20, 0x40, 0x80)
    return " " + "".join(
        chr(0x2800 + sum(bit for place, bit in enumerate(bits) if pattern >> place & 1))
        for pattern in range(1, 256)
    )


BRAILLE = GlyphSet("braille", 2, 4, _braille(), nonfinite="╳")
QUADRANTS = GlyphSet("quadrants", 2, 2, " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█", swatch="─")
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
    nonfinite="x",
    swatch="-",
)


def glyphs_for(stream: TextIO | None = None) -> GlyphSet:
    """The finest set that comes out as itself on a stream; unset is stderr, where Textual draws."""
    stream = stream or sys.__stderr__
    if stream is None or not terminal.has_unicode(stream):
        return ASCII
    return BRAILLE if terminal.has_braille(stream) else QUADRANTS


def span_dots(top: Ints, bottom: Ints, rows: int) -> Dots:
    """The raster on which column i has dots from row top[i] to bottom[i], both included.

    Where top[i] > bottom[i] the column has none; what lies outside of the raster is cut.
    """
    row = np.arange(rows, dtype=np.int32)[:, None]
    return (row >= top.astype(np.int32)) & (row <= bottom.astype(np.int32))


def line_spans(row: Floats) -> tuple[Ints, Ints]:
    """Spans of a line through the dot rows row[i] (NaN: unknown), joined to its neighbours.

    Gaps between known columns are bridged by straight lines; a column meets its neighbour half
    way, so that a steep line has no holes and is nowhere thicker than it is steep.
    """
    known = np.flatnonzero(np.isfinite(row))
    top = np.ones(len(row), np.int64)
    bottom = np.zeros(len(row), np.int64)
    if not len(known):
        return top, bottom
    part = slice(known[0], known[-1] + 1)
    height = np.interp(np.arange(part.start, part.stop), known, row[known])
    at = np.rint(height).astype(np.int64)
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


def cell_patterns(dots: Dots, glyphs: GlyphSet) -> Patterns:
    """The pattern of each cell of a raster whose sides are whole cells."""
    pattern = np.zeros((dots.shape[0] // glyphs.rows, dots.shape[1] // glyphs.columns), np.uint8)
    bit = 0
    for row in range(glyphs.rows):
        for column in range(glyphs.columns):
            part = dots[row :: glyphs.rows, column :: glyphs.columns]
            pattern |= part.view(np.uint8) << np.uint8(bit)
            bit += 1
    return pattern


def text_of(codes: Codes) -> list[str]:
    """Each row of cells as a string."""
    width = codes.shape[1]
    text = np.ascontiguousarray(codes, "<u4").tobytes().decode("utf-32-le")
    return [text[start : start + width] for start in range(0, len(text), width)]


if __name__ == "__main__":
    wave = 11.5 - 11 * np.sin(np.arange(120) / 12) * np.exp(-np.arange(120) / 80)
    for chosen in (BRAILLE, QUADRANTS, ASCII):
        scaled = wave[:: 2 // chosen.columns] * (chosen.rows * 6 - 1) / 23
        raster = span_dots(*line_spans(scaled), rows=chosen.rows * 6)
        print("\n".join(text_of(chosen.codes[cell_patterns(raster, chosen)])))
    assert text_of(BRAILLE.codes[cell_patterns(np.ones((4, 2), bool), BRAILLE)]) == ["⣿"]
    print("=== 自测通过 ===")
