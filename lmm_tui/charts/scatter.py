"""Two columns of runs against each other: a point a run, coloured by its result."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.style import Style

from lmm_tui.charts.braille import ASCII, GlyphSet, glyphs_for
from lmm_tui.charts.canvas import AXIS, LABEL, NAME, Canvas
from lmm_tui.charts.canvas_view import CanvasView
from lmm_tui.charts.run_points import (
    SIGNS,
    SIGNS_ASCII,
    PlottedColumn,
    ink_of,
    quarter_styles,
)
from lmm_tui.terminal.safe_text import clean, fit

_LEAST_WIDTH, _LEAST_HEIGHT = 30, 8
_LABEL = 10
"""Cells for a label of the y axis."""
_LONGEST_NAME = 24


class ScatterPlot(CanvasView):
    """Call `show` with the columns; points of runs without a value in both are left out."""

    DEFAULT_CSS = "ScatterPlot { height: 1fr; width: 1fr; padding: 0 1; }"

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown: tuple[object, ...] = ()
        self._names: tuple[str, ...] = ()
        self._x = self._y = PlottedColumn.of("", ())
        self._quarters: tuple[int | None, ...] = ()

    def show(
        self,
        names: Sequence[str],
        x: PlottedColumn,
        y: PlottedColumn,
        quarters: Sequence[int | None],
    ) -> None:
        self._names, self._x, self._y = tuple(map(clean, names)), x, y
        self._quarters = tuple(quarters)
        self.update_canvas()

    def depends_on(self) -> object:
        return self._names, self._x, self._y, self._quarters

    def ink_styles(self, base: Style, *, dark: bool) -> list[Style]:
        return quarter_styles(base, dark=dark)

    def draw(self, width: int, height: int) -> Canvas:
        canvas = Canvas(width, height)
        if width < _LEAST_WIDTH or height < _LEAST_HEIGHT:
            return canvas
        glyphs = glyphs_for()
        canvas.put(0, 0, fit(f"{self._y.title} / {self._x.title}", width), NAME)
        left, bottom = _LABEL + 1, height - 3
        _axes(canvas, glyphs, left, bottom)
        across, up = width - left - 2, bottom - 2
        for place, text in self._x.scale.labels():
            at = min(left + 1 + round(place * across), width - cell_len(text))
            canvas.put(left + 1 + round(place * across), bottom, glyphs.tick_x, AXIS)
            canvas.put(max(at - cell_len(text) // 2, 0), bottom + 1, clean(text), LABEL)
        for place, text in self._y.scale.labels():
            row = bottom - 1 - round(place * up)
            shown = fit(clean(text), _LABEL).rstrip()
            canvas.put(_LABEL - cell_len(shown), row, shown, LABEL)
            canvas.put(left, row, glyphs.tick_y, AXIS)
        title = fit(self._x.title, width - left).rstrip()
        canvas.put(width - cell_len(title), bottom + 2, title, LABEL)
        self._points(canvas, glyphs, (left + 1, bottom - 1), (across, up))
        return canvas

    def _points(
        self, canvas: Canvas, glyphs: GlyphSet, origin: tuple[int, int], size: tuple[int, int]
    ) -> None:
        signs = SIGNS_ASCII if glyphs is ASCII else SIGNS
        taken: dict[int, list[tuple[int, int]]] = {}
        points = []
        for name, x, y, quarter in zip(
            self._names, self._x.places, self._y.places, self._quarters, strict=True
        ):
            if x is not None and y is not None:
                at = origin[0] + round(x * size[0]), origin[1] - round(y * size[1])
                points.append((quarter if quarter is not None else 4, at, name, quarter))
                taken.setdefault(at[1], []).append((at[0] - 1, at[0] + 2))
        # The best points are drawn last, over the others, and named first.
        for _, (column, row), _, quarter in sorted(points, reverse=True):
            sign = signs[quarter] if quarter is not None else "."
            canvas.put(column, row, sign, ink_of(quarter))
        for _, (column, row), name, quarter in sorted(points):
            text = fit(name, min(cell_len(name), _LONGEST_NAME))
            spans, room = taken[row], cell_len(text)
            for first in (column + 2, column - 1 - room):
                end = first + room
                free = all(end <= low or high <= first for low, high in spans)
                if origin[0] < first and end < canvas.width and free:
                    canvas.put(first, row, text, ink_of(quarter))
                    spans.append((first, end + 1))
                    break


def _axes(canvas: Canvas, glyphs: GlyphSet, left: int, bottom: int) -> None:
    canvas.put_down(left, 1, glyphs.vertical * (bottom - 1), AXIS)
    canvas.put(left, bottom, glyphs.corner + glyphs.horizontal * (canvas.width - left - 1), AXIS)


if __name__ == "__main__":
    from textual.geometry import Region

    plot = ScatterPlot()
    plot._names, plot._quarters = ("a", "b", "c"), (0, 1, 3)
    plot._x = PlottedColumn.of("lr", [1e-4, 1e-3, 1e-2])
    plot._y = PlottedColumn.of("best", [2.4, 2.2, 3.1])
    drawn = plot.draw(60, 14)
    for strip in drawn.strips(Region(0, 0, 60, 14), [Style()] * 12):
        print(strip.text.rstrip())
    print("=== 自测通过 ===")
