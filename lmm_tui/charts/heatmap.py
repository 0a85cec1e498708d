"""A heat map over steps: one row for each series, colours on a log scale.

It shows where in a network values grow or vanish, such as gradient norms by layer. A cell of the
canvas holds an upper and a lower half, so that two rows fit on a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os.path import commonprefix

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.style import Style

from lmm_tui.charts.braille import ASCII, glyphs_for
from lmm_tui.charts.canvas import ALARM, FIRST_FREE_INK, LABEL, NAME, Canvas
from lmm_tui.charts.run_chart import RunChart
from lmm_tui.charts.viewport import Whole
from lmm_tui.i18n.language import tr
from lmm_tui.metrics.drawing.palette import ramp
from lmm_tui.metrics.drawing.ticks import log_label, round_decades, x_ticks
from lmm_tui.metrics.series.growing_array import Floats
from lmm_tui.metrics.series.robust_range import robust_range
from lmm_tui.metrics.series.series import Axis, Series, SeriesStore
from lmm_tui.terminal.safe_text import clean, fit

MIN_WIDTH, MIN_HEIGHT = 20, 4

_COLORS = len(ramp(dark=True))
_NOTHING = _COLORS
"""The level of a cell without a value: the background."""

_MIN_GUTTER, _MAX_GUTTER = 7, 14
"""Limits of the width of labels in cells; the least is that of charts."""

_ZERO, _NONFINITE = 1, 2


@dataclass(frozen=True)
class _Grid:
    """The values to show: a row for each label, a column for each cell of the screen."""

    labels: list[str]
    logs: Floats
    """log10 of the largest value in a cell, NaN if none is above 0."""
    marks: NDArray[np.uint8]
    """_NONFINITE or _ZERO (all values are exactly 0), else 0."""

    def merged(self, most: int) -> _Grid:
        """At most `most` rows: neighbours are merged to their largest values."""
        if len(self.labels) <= most:
            return self
        starts = np.arange(most) * len(self.labels) // most
        return _Grid(
            [self.labels[start] for start in starts],
            np.fmax.reduceat(self.logs, starts, axis=0),
            np.maximum.reduceat(self.marks, starts, axis=0),
        )


class HeatMap(RunChart):
    """Series of a store as rows, the first on top; `update_from` is cheap without changes."""

    AXIS_ROWS = 1
    DEFAULT_CSS = """
    HeatMap { width: 1fr; height: 1fr; }
    """

    def __init__(self, title: str, id: str | None = None) -> None:
        super().__init__(id=id)
        self._title = clean(title)
        self._glyphs = glyphs_for()
        self._names: tuple[str, ...] = ()
        self._range: tuple[float, float] | None = None

    def update_from(
        self, store: SeriesStore, names: Iterable[str], x_end: float | None = None
    ) -> None:
        """Show these series as they are now, up to step `x_end` (unset: a round number)."""
        self.store, self._names, self.x_end = store, tuple(names), x_end
        self.update_canvas()

    def depends_on(self) -> object:
        lengths = tuple(len(series) for series in self._series())
        return super().depends_on(), self._names, lengths

    def data_cells(self) -> tuple[int, int]:
        gutter = self._gutter(short_names([one.name for one in self._series()]))
        return gutter, self.size.width - gutter - 1

    def draw(self, width: int, height: int) -> Canvas:
        """Rows are one or more lines high, or half a line if there are many."""
        canvas = Canvas(width, height)
        canvas.put(0, 0, self._title, NAME)
        series = self._series()
        if not series or width < MIN_WIDTH or height < MIN_HEIGHT:
            if not series and height > 1:
                text = tr("no values yet")
                canvas.put(max((width - len(text)) // 2, 0), height // 2, text, LABEL)
            return canvas
        labels = short_names([one.name for one in series])
        gutter = self._gutter(labels)
        across, down = width - gutter - 1, height - 2
        x0, x1 = self.view.span(Whole.of(self.store, self.view.axis, self.x_end))
        split = len(labels) > down and self._glyphs is not ASCII
        grid = _bin(series, labels, x0, x1, across, self.view.axis).merged(
            down * 2 if split else down
        )
        halves = 1 if split else 2 * (down // len(grid.labels))
        self._settle_range(grid.logs)
        self._paint(canvas, gutter, grid, halves)
        for row, label in enumerate(grid.labels):
            if row * halves % 2 == 0:
                canvas.put(0, 1 + row * halves // 2, fit(label, gutter - 1), LABEL)
        start = self.store.span("time")[0] if self.view.axis == "time" else 0.0
        for value, label in x_ticks(x0 - start, x1 - start, across, self.view.axis):
            x = gutter + min(int((value + start - x0) / (x1 - x0) * across), across - 1)
            at = min(max(x - len(label) // 2, gutter - 1), width - len(label))
            canvas.put(at, 1 + -(-len(grid.labels) * halves // 2), label, LABEL)
        self._draw_legend(canvas)
        return canvas

    def ink_styles(self, base: Style, *, dark: bool) -> list[Style]:
        colors = [*ramp(dark=dark), base.bgcolor]
        return [base + Style(color=upper, bgcolor=lower) for upper in colors for lower in colors]

    @staticmethod
    def _gutter(labels: Sequence[str]) -> int:
        longest = max(map(cell_len, labels), default=0)
        return min(max(_MIN_GUTTER, longest + 1), _MAX_GUTTER)

    def _series(self) -> list[Series]:
        return [series for name in self._names if (series := self.store.get(name))]

    def _settle_range(self, logs: Floats) -> None:
        """Keep the colour scale while it fits, so that colours stay as they are."""
        flat = logs.ravel()
        found = robust_range(flat, flat)
        if found is None:
            return
        low, high = found
        old = self._range
        if not (old and old[0] <= low and high <= old[1] and high - low >= (old[1] - old[0]) / 2):
            self._range = round_decades(low, high)

    def _paint(self, canvas: Canvas, x: int, grid: _Grid, halves: int) -> None:
        """Fill the cells; each row is `halves` half lines high."""
        low, high = self._range or (0.0, 1.0)
        share = np.clip((grid.logs - low) / (high - low), 0, 1)
        known = np.isfinite(share)
        levels = np.full(share.shape, _NOTHING, np.uint8)
        levels[known] = np.minimum(share[known] * _COLORS, _COLORS - 1)
        # (half lines, columns); pairs of half lines then become cells.
        rows = np.repeat(levels, halves, axis=0)
        marks = np.repeat(grid.marks, halves, axis=0)
        if len(rows) % 2:
            rows = np.vstack((rows, np.full_like(rows[:1], _NOTHING)))
            marks = np.vstack((marks, np.zeros_like(marks[:1])))
        upper, lower = rows[0::2], rows[1::2]
        area = slice(1, 1 + len(upper)), slice(x, x + rows.shape[1])
        canvas.inks[area] = _ink(0, 0) + upper * (_COLORS + 1) + lower
        canvas.codes[area] = np.where(upper == lower, ord(" "), ord("▀"))
        mark = np.maximum(marks[0::2], marks[1::2])
        for kind, glyph, ink in (
            (_ZERO, "·" if self._glyphs is not ASCII else "0", LABEL),
            (_NONFINITE, self._glyphs.nonfinite, ALARM),
        ):
            canvas.stamp(x, 1, np.full(mark.shape, ord(glyph), np.uint32), mark == kind)
            canvas.tint(x, 1, mark == kind, ink)

    def _draw_legend(self, canvas: Canvas) -> None:
        if self._range is None:
            return
        low, high = (log_label(10.0**end) for end in self._range)
        x = canvas.width - len(low) - len(high) - _COLORS - 3
        if x < cell_len(self._title) + 2:
            return
        canvas.put(x, 0, low, LABEL)
        for level in range(_COLORS):
            canvas.put(x + len(low) + 1 + level, 0, " ", _ink(level, level))
        canvas.put(x + len(low) + _COLORS + 2, 0, high, LABEL)


def short_names(names: Sequence[str]) -> list[str]:
    """Clean labels without the prefix that all names share, up to its last `/` or `.`."""
    common = commonprefix(list(names))  # noqa: RUF071 (a prefix of characters is meant)
    start = max(common.rfind("/"), common.rfind(".")) + 1
    return [clean(name[start:]) for name in names]


def _bin(
    series: Sequence[Series], labels: list[str], x0: float, x1: float, across: int, axis: Axis
) -> _Grid:
    logs = np.full((len(series), across), np.nan)
    marks = np.zeros((len(series), across), np.uint8)
    for row, one in enumerate(series):
        bins = one.bins(x0, x1, across, axis)
        known = np.flatnonzero(np.isfinite(bins.high) | (bins.nonfinite > 0))
        if not len(known):
            continue
        # A value fills the columns up to the next one, so that a short run has no gaps.
        latest = known[known.searchsorted(np.arange(known[0], known[-1] + 1), side="right") - 1]
        shown = slice(known[0], known[-1] + 1)
        high = bins.high[latest]
        positive = high > 0
        logs[row, shown][positive] = np.log10(high[positive])
        marks[row, shown][high == 0] = _ZERO
        marks[row, known[bins.nonfinite[known] > 0]] = _NONFINITE
    return _Grid(labels, logs, marks)


def _ink(upper: int, lower: int) -> int:
    """The ink of a cell with these levels in its halves."""
    return FIRST_FREE_INK + upper * (_COLORS + 1) + lower


if __name__ == "__main__":
    from lmm_tui.charts.braille import text_of

    heat_map = HeatMap("layer norms")
    heat_map.store, heat_map._names = SeriesStore(), ("norm/0", "norm/1")
    for step in range(1, 400):
        heat_map.store.append({"step": step, "norm/0": 0.01 * step, "norm/1": 0.1 * step})
    print("\n".join(text_of(heat_map.draw(60, 8).codes)))
    print("=== 自测通过 ===")
