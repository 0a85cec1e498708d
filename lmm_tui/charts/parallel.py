"""Columns of runs as parallel coordinates: an upright axis a column, a line a run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from rich.cells import cell_len
from rich.style import Style

from lmm_tui.charts.braille import GlyphSet, glyphs_for, line_spans, span_patterns
from lmm_tui.charts.canvas import AXIS, LABEL, NAME, Canvas
from lmm_tui.charts.canvas_view import CanvasView
from lmm_tui.charts.run_points import PlottedColumn, ink_of, quarter_styles
from lmm_tui.terminal.safe_text import clean, fit

_LEAST_HEIGHT = 6
_ROOM = 14
"""Cells for an axis with its labels; columns beyond those that fit are left out."""
_HEAD = 2


class ParallelPlot(CanvasView):
    """Call `show` with the columns; the last one is the result."""

    DEFAULT_CSS = "ParallelPlot { height: 1fr; width: 1fr; padding: 0 1; }"

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._columns: tuple[PlottedColumn, ...] = ()
        self._quarters: tuple[int | None, ...] = ()

    def show(self, columns: Sequence[PlottedColumn], quarters: Sequence[int | None]) -> None:
        self._columns, self._quarters = tuple(columns), tuple(quarters)
        self.update_canvas()

    def depends_on(self) -> object:
        return self._columns, self._quarters

    def ink_styles(self, base: Style, *, dark: bool) -> list[Style]:
        return quarter_styles(base, dark=dark)

    def draw(self, width: int, height: int) -> Canvas:
        canvas = Canvas(width, height)
        fitting = max(width // _ROOM, 1)
        columns = self._columns
        if len(columns) > fitting:  # The result stays.
            columns = (*columns[: fitting - 1], columns[-1])
        if height < _LEAST_HEIGHT or len(columns) < 2:
            return canvas
        glyphs = glyphs_for()
        last = width - _ROOM
        axes = [round(at * last / (len(columns) - 1)) for at in range(len(columns))]
        order = sorted(
            range(len(self._quarters)), key=lambda run: -_drawn_last(self._quarters[run])
        )
        for run in order:
            self._line(canvas, glyphs, axes, [column.places[run] for column in columns], run)
        for at, column in zip(axes, columns, strict=True):
            _axis(canvas, glyphs, at, column)
        return canvas

    def _line(
        self,
        canvas: Canvas,
        glyphs: GlyphSet,
        axes: Sequence[int],
        places: Sequence[float | None],
        run: int,
    ) -> None:
        down = canvas.height - _HEAD
        dots = down * glyphs.rows - 1
        width = canvas.width
        rows = np.full(width * glyphs.columns, np.nan)
        for (left, before), (right, after) in pairwise(zip(axes, places, strict=True)):
            if before is not None and after is not None:
                first, end = left * glyphs.columns, right * glyphs.columns
                ends = (1 - before) * dots, (1 - after) * dots
                rows[first : end + 1] = np.linspace(*ends, end - first + 1)
        # Columns without a value between others would be bridged: each piece is drawn alone.
        known = np.flatnonzero(np.isfinite(rows))
        for piece in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1):
            part = np.full(len(rows), np.nan)
            part[piece] = rows[piece]
            patterns = span_patterns(*line_spans(part), down, glyphs)
            drawn = patterns > 0
            canvas.stamp(0, _HEAD, glyphs.codes[patterns], drawn)
            canvas.tint(0, _HEAD, drawn, ink_of(self._quarters[run]))


def _drawn_last(quarter: int | None) -> int:
    """Runs of the best quarter are drawn last, over the others."""
    return 4 if quarter is None else quarter


def _axis(canvas: Canvas, glyphs: GlyphSet, at: int, column: PlottedColumn) -> None:
    canvas.put(at, 0, fit(clean(column.title), min(cell_len(column.title), _ROOM - 1)), NAME)
    bottom = canvas.height - 1
    canvas.put_down(at, _HEAD, glyphs.vertical * (canvas.height - _HEAD), AXIS)
    for place, text in column.scale.labels():
        row = bottom - round(place * (bottom - _HEAD))
        shown = fit(clean(text), min(cell_len(text), _ROOM - 3))
        canvas.put(at + 1, row, f" {shown} ", LABEL)


if __name__ == "__main__":
    from textual.geometry import Region

    plot = ParallelPlot()
    plot._quarters = (0, 1, 3)
    plot._columns = (
        PlottedColumn.of("lr", [1e-4, 1e-3, 1e-2]),
        PlottedColumn.of("optimizer", ["muon", "adamw", "adamw"]),
        PlottedColumn.of("best val", [2.4, 2.6, 3.1]),
    )
    for strip in plot.draw(64, 12).strips(Region(0, 0, 64, 12), [Style()] * 12):
        print(strip.text.rstrip())
    print("=== 自测通过 ===")
