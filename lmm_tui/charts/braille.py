"""Dots as characters: spans of dots become cells of braille, half blocks or ASCII, all in numpy.

Curves, bands and marks are all one span of dots, top to bottom, in each dot column; dot row 0 is
the top.
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
"""The set dots of each cell as bits; (rows, columns) of cells."""

Codes = NDArray[np.uint32]
"""Unicode code points, (rows, columns) of cells."""


@dataclass(frozen=True)
class GlyphSet:
    """The characters to draw with on a terminal: for patterns of dots, axes and marks."""

    name: str
    columns: int
    """Dot columns of a cell."""
    rows: int
    """Dot rows of a cell."""
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
        """Patterns of the left dot column from row `first` to before `end`, for all of both.

        The index is first * (rows + 1) + end.
        """
        table = np.zeros((self.rows + 1, self.rows + 1), np.uint8)
        for first in range(self.rows):
            for end in range(first + 1, self.rows + 1):
                table[first, end] = sum(1 << row * self.columns for row in range(first, end))
        return table.ravel()


def _braille() -> str:
    # Bits of U+28xx by (row, column): Unicode numbers the upper 2x3 dots by columns, then the rest.
    bits = (0x01, 0x08, 0x02, 0x10, 0x04, 0x20, 0x40, 0x80)
    return " " + "".join(
        chr(0x2800 + sum(bit for place, bit in enumerate(bits) if pattern >> place & 1))
        for pattern in range(1, 256)
    )


BRAILLE = GlyphSet("braille", 2, 4, _braille(), nonfinite="╳")
HALVES = GlyphSet("halves", 1, 2, " ▀▄█", nonfinite="x", alert="♦", event="○", swatch="─")
"""All characters are in code page 437, the font of a Linux console."""
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
    """The finest set that a stream can show (default: stderr, which Textual writes to)."""
    stream = stream or sys.__stderr__
    if stream is None or not capabilities.has_unicode(stream):
        return ASCII
    return BRAILLE if capabilities.has_braille(stream) else HALVES


def line_spans(row: Floats) -> tuple[Floats, Floats]:
    """Top and bottom dot of a connected line through the dot rows row[i] (NaN: unknown).

    Gaps between known columns are interpolated. Each column extends half way to its neighbours, so
    that a steep line has no holes and no column repeats dots of the next.
    """
    known = np.flatnonzero(np.isfinite(row))
    top, bottom = np.full((2, len(row)), np.nan)
    if not len(known):
        return top, bottom
    part = slice(known[0], known[-1] + 1)
    at = np.rint(np.interp(np.arange(part.start, part.stop), known, row[known]))
    # Half way to the next column; the dot at the middle belongs to the upper of the two.
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
    """Patterns of `down` rows of cells with dot column i set from row top[i] to bottom[i].

    Rows are whole numbers, both ends included, and are clipped; NaN is a column without dots. The
    number of dot columns is a multiple of those of a cell.
    """
    rows, columns = glyphs.rows, glyphs.columns
    known = top <= bottom
    start = np.where(known, top, 0).astype(np.int16)
    stop = np.where(known, bottom + 1, 0).astype(np.int16)
    # (rows of cells, dot columns): the span within each cell, then its pattern by table look-up.
    cell = np.arange(0, down * rows, rows, dtype=np.int16)[:, None]
    first, end = start - cell, stop - cell
    for dot in (first, end):
        np.maximum(dot, 0, out=dot)
        np.minimum(dot, rows, out=dot)
    bits = glyphs.spans.take(first * (rows + 1) + end)
    # Dot columns of one cell are merged; bit 0 is the left one.
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
    print("=== 自测通过 ===")
