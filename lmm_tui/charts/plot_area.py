"""The data area of a plot: bands, lines, signs, marks and references on cells of a canvas.

A method draws one layer: values become dot rows, dot rows patterns of dots in cells, and patterns
characters with an ink. Later layers cover earlier ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from lmm_tui.charts.braille import GlyphSet, Patterns, line_spans, span_patterns
from lmm_tui.charts.canvas import ALARM, LABEL, REFERENCE, Canvas, Mask
from lmm_tui.metrics.series.growing_array import Floats
from lmm_tui.metrics.series.series import Bins

GUTTER = 7
"""Cells left of the data: labels of up to six and the axis; constant, so that plots align."""

LARGEST = 1e300
"""The limit of y axes: differences of larger numbers overflow."""

_BLANK = ord(" ")

_MARK_SPACING = 10
"""Least mean distance of points in dot columns; denser points are drawn without marks."""

_SIGN_SPACING = 6
"""Cells between the sign of one line and that of the next."""


def cells_across(width: int) -> int:
    """Cells of data in a plot of this width; one cell stays free at the right."""
    return width - GUTTER - 1


@dataclass(frozen=True)
class PlotWindow:
    """The ranges of x and y that are shown; y in log10 on a log plot."""

    x0: float
    x1: float
    y0: float
    y1: float


class PlotArea:
    """The cells of a canvas without title line, gutter and the two lines of the x axis."""

    def __init__(self, canvas: Canvas, glyphs: GlyphSet, window: PlotWindow) -> None:
        self.across, self.down = cells_across(canvas.width), canvas.height - 3
        self._canvas, self._glyphs, self._window = canvas, glyphs, window
        self._dots_down = self.down * glyphs.rows
        # The dots drawn so far, so that a cell holds those of all bands, or of all lines.
        self._bands: Patterns = np.zeros((self.down, self.across), np.uint8)
        self._lines = self._bands.copy()

    def cell_x(self, x: float) -> int:
        """The canvas column of an x in the window."""
        share = (x - self._window.x0) / (self._window.x1 - self._window.x0)
        return GUTTER + min(int(share * self.across), self.across - 1)

    def cell_y(self, level: float) -> int:
        """The canvas row of a y in the window."""
        return 1 + self._dot(level) // self._glyphs.rows

    def holds(self, level: float) -> bool:
        return self._window.y0 <= level <= self._window.y1

    def band(self, bins: Bins, ink: int) -> None:
        """Fill from the lowest to the highest value of each column."""
        top, bottom = np.rint(self._rows(bins.high)), np.rint(self._rows(bins.low))
        patterns = span_patterns(top, bottom, self.down, self._glyphs)
        self._bands |= patterns
        self._stamp(self._bands, patterns > 0)
        self._tint(patterns > 0, ink)

    def line(self, values: Floats, ink: int, *, marks: bool) -> None:
        """Draw a line through the values; with `marks`, thicken its points if they are sparse."""
        rows = self._rows(values)
        top, bottom = line_spans(rows)
        if marks:
            known = np.flatnonzero(np.isfinite(rows))
            if len(known) and (len(known) - 1) * _MARK_SPACING <= known[-1] - known[0]:
                at = np.rint(rows[known])
                for column in (known, np.minimum(known + 1, len(rows) - 1)):
                    top[column], bottom[column] = at - 1, at + 1
        patterns = span_patterns(top, bottom, self.down, self._glyphs)
        shown = patterns > 0
        # Where lines share cells, their colours alternate every two columns.
        mine = shown & ((self._lines == 0) | (np.arange(self.across) // 2 % 2 == 0))
        self._lines |= patterns
        self._stamp(self._lines, shown)
        self._tint(mine, ink)

    def sign(self, values: Floats, sign: str, ink: int, place: int, places: int) -> None:
        """Repeat a sign along a line; `place` of `places` staggers the signs of several lines."""
        rows = self._rows(values)
        known = np.flatnonzero(np.isfinite(rows))
        spacing = _SIGN_SPACING * places
        for cell in range(_SIGN_SPACING // 2 + place * _SIGN_SPACING, self.across, spacing):
            dot = cell * self._glyphs.columns
            if len(known) and known[0] <= dot <= known[-1]:
                row = round(np.interp(dot, known, rows[known]))
                if 0 <= row < self._dots_down:
                    self._canvas.put(GUTTER + cell, 1 + row // self._glyphs.rows, sign, ink)

    def reference(self, level: float) -> None:
        """Draw a dotted horizontal line."""
        if not self.holds(level):
            return
        y, dot = divmod(self._dot(level), self._glyphs.rows)
        row = np.full(self.across * self._glyphs.columns, np.nan)
        row[:: 3 if self._glyphs.columns > 1 else 2] = dot
        patterns = span_patterns(row, row, 1, self._glyphs)
        self._stamp(patterns, patterns > 0, y)
        self._tint(patterns > 0, REFERENCE, y)

    def reference_label(self, label: str, level: float) -> None:
        """Label a reference at its right end, else at its left, else not: wherever no line is."""
        size = cell_len(label)
        if not self.holds(level) or size + 2 > self.across:
            return
        y = self.cell_y(level)
        for start in (self.across - size - 1, 1):
            dots = self._lines[y - 1, start : start + size]
            if not dots.any():
                dots[:] = 1  # Taken: the label of a close reference goes elsewhere.
                self._canvas.put(GUTTER + start, y, label, REFERENCE)
                return

    def mark_cut(self, traces: Mapping[int, Bins]) -> tuple[int, int]:
        """Mark columns with values outside the window; `traces` are bins by ink.

        Returns how many peaks are above and below it: adjacent columns are one peak.
        """
        slack = 1e-9 * (self._window.y1 - self._window.y0)
        counts = []
        for y, glyph, beyond in (
            (1, self._glyphs.above, [b.high > self._window.y1 + slack for b in traces.values()]),
            (
                self.down,
                self._glyphs.below,
                [b.low < self._window.y0 - slack for b in traces.values()],
            ),
        ):
            cut = np.zeros(self.across, bool)
            for ink, flags in zip(traces, beyond, strict=True):
                cells = self._cells(flags)
                cut |= cells
                for x in cells.nonzero()[0].tolist():
                    self._canvas.put(GUTTER + x, y, glyph, ink)
            counts.append(int(np.count_nonzero(cut[1:] & ~cut[:-1])) + bool(cut[0]))
        return counts[0], counts[1]

    def mark_times(self, marks: Iterable[tuple[float, bool]]) -> None:
        """Mark events (x, severe) on the x axis; severe ones cover others."""
        inside = {
            (severe, self.cell_x(x))
            for x, severe in marks
            if self._window.x0 <= x <= self._window.x1
        }
        for severe, x in sorted(inside):
            glyph, ink = (self._glyphs.alert, ALARM) if severe else (self._glyphs.event, LABEL)
            self._canvas.put(x, 1 + self.down, glyph, ink)

    def cursor(self, x: float) -> None:
        """Draw a vertical line in blank cells."""
        column = self.cell_x(x)
        for y in range(1, 1 + self.down):
            if self._canvas.codes[y, column] == _BLANK:
                self._canvas.put(column, y, self._glyphs.vertical, LABEL)

    def mark_nonfinite(self, binned: Iterable[Bins]) -> int:
        """Mark columns with non-finite values on the x axis; returns the number of such values."""
        counts = np.sum([bins.nonfinite for bins in binned], axis=0)
        for x in self._cells(counts > 0).nonzero()[0].tolist():
            self._canvas.put(GUTTER + x, 1 + self.down, self._glyphs.nonfinite, ALARM)
        return int(counts.sum())

    def _dot(self, level: float) -> int:
        """The dot row of a y in the window."""
        share = (self._window.y1 - level) / (self._window.y1 - self._window.y0)
        return round(share * (self._dots_down - 1))

    def _rows(self, values: Floats) -> Floats:
        """Dot rows of values, not rounded; those outside the window land just outside the area."""
        window = self._window
        within = np.minimum(np.maximum(values, -2 * LARGEST), 2 * LARGEST)
        with np.errstate(over="ignore"):
            rows = (window.y1 - within) * ((self._dots_down - 1) / (window.y1 - window.y0))
        return np.minimum(np.maximum(rows, -2), self._dots_down + 1)

    def _cells(self, flags: NDArray[np.bool_]) -> Mask:
        """Which cells have a flag set in any of their dot columns."""
        return flags.reshape(-1, self._glyphs.columns).max(axis=1)

    def _stamp(self, patterns: Patterns, shown: Mask, y: int = 0) -> None:
        self._canvas.stamp(GUTTER, 1 + y, self._glyphs.codes[patterns], shown)

    def _tint(self, shown: Mask, ink: int, y: int = 0) -> None:
        self._canvas.tint(GUTTER, 1 + y, shown, ink)


if __name__ == "__main__":
    from lmm_tui.charts.braille import BRAILLE, text_of

    wave = np.sin(np.arange(104) / 10)
    page = Canvas(60, 11)
    area = PlotArea(page, BRAILLE, PlotWindow(0, 1, -1.3, 1.2))
    area.band(Bins(wave - 0.3, wave + 0.3, wave, np.zeros(104, np.int64)), 6)
    print("\n".join(text_of(page.codes)))
    print("=== 自测通过 ===")
