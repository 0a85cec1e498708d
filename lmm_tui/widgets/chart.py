"""A chart on the screen: a plot as cached strips, of which only what changed is painted again.

It follows size, theme and data, and knows nothing of sessions, runs or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from lmm_tui.palette import chart_colors, shade
from lmm_tui.widgets.braille import glyphs_for
from lmm_tui.widgets.canvas import Canvas
from lmm_tui.widgets.plot import (
    ALARM,
    AXIS,
    LABEL,
    REFERENCE,
    TITLE,
    Plot,
    Trace,
    band_ink,
    line_ink,
)
from metrics.series import Axis, SeriesStore

__all__ = ["Chart", "Trace"]


class Chart(Widget):
    """Traces of a store over steps, tokens or time; call `update_from` as often as you like."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    Chart { width: 1fr; height: 1fr; }
    """

    def __init__(
        self,
        title: str,
        traces: Sequence[Trace],
        *,
        log: bool = False,
        references: Mapping[str, float] | None = None,
        axis: Axis = "step",
        id: str | None = None,
    ) -> None:
        """`references` are labelled horizontal lines, drawn where they are near the data."""
        super().__init__(id=id)
        self._plot = Plot(title, traces, log=log, axis=axis, glyphs=glyphs_for())
        self._references = dict(references or {})
        self._store = SeriesStore()
        self._x_end: float | None = None
        self._drawn: tuple[object, ...] = ()
        self._canvas = Canvas(0, 0)
        self._strips: list[Strip] = []
        self._styles: list[Style] = []

    @property
    def references(self) -> Mapping[str, float]:
        return self._references

    @references.setter
    def references(self, references: Mapping[str, float]) -> None:
        self._references = dict(references)
        self._redraw()

    def update_from(self, store: SeriesStore, x_end: float | None = None) -> None:
        """Show what the store holds now, on an x axis up to `x_end` (unset: a round number).

        Paints the changed parts of changed lines; costs next to nothing where nothing changed.
        """
        self._store, self._x_end = store, x_end
        self._redraw()

    def render_line(self, y: int) -> Strip:
        self._bring_up_to_date()
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles = []

    def _redraw(self) -> None:
        if not self.is_attached or self._seen() == self._drawn:
            return
        if not self.is_on_screen or self._canvas_is_stale():
            # It is painted when it is shown; until then nothing has to be computed.
            self.refresh()
            return
        before = self._canvas
        self._draw()
        changes = list(self._canvas.changes(before))
        rows = [change.y for change in changes]
        for y, strip in zip(rows, self._canvas.strips(rows, self._styles), strict=True):
            self._strips[y] = strip
        if changes:
            self.refresh(*changes)

    def _bring_up_to_date(self) -> None:
        if self._canvas_is_stale() or self._seen() != self._drawn:
            self._draw()
            self._styles = self._make_styles()
            self._strips = self._canvas.strips(range(self._canvas.height), self._styles)

    def _canvas_is_stale(self) -> bool:
        return not self._styles or self.size != (self._canvas.width, self._canvas.height)

    def _seen(self) -> tuple[object, ...]:
        """What the picture depends on, but for size and theme."""
        lengths = tuple(
            len(series) if (series := self._store.get(trace.metric)) else 0
            for trace in self._plot.traces
        )
        return id(self._store), self._store.generation, lengths, self._x_end, self._references

    def _draw(self) -> None:
        size = self.size
        self._canvas = self._plot.draw(
            self._store, size.width, size.height, self._x_end, self._references
        )
        self._drawn = self._seen()

    def _make_styles(self) -> list[Style]:
        dark = self.app.current_theme.dark
        base = self.rich_style
        colors = chart_colors(dark=dark)
        styles = [base] * line_ink(len(self._plot.traces))
        styles[TITLE] = base + Style(bold=True)
        styles[LABEL] = base + Style(color=colors.label)
        styles[AXIS] = base + Style(color=colors.axis)
        styles[REFERENCE] = base + Style(color=colors.reference)
        styles[ALARM] = base + Style(color=colors.alarm, bold=True)
        for number, trace in enumerate(self._plot.traces):
            strength = shade(trace.color, dark=dark)
            styles[line_ink(number)] = base + Style(color=strength.line)
            styles[band_ink(number)] = base + Style(color=strength.band)
        return styles


if __name__ == "__main__":
    import asyncio

    from textual.app import App, ComposeResult

    store = SeriesStore()
    for step in range(1, 500):
        store.append({"step": step, "train/loss": 7 / step**0.2})

    class Demo(App[None]):
        def compose(self) -> ComposeResult:
            yield Chart("loss", [Trace("train/loss", "train", "blue", "line")])

    async def show() -> str:
        app = Demo()
        async with app.run_test(size=(60, 12)):
            chart = app.query_one(Chart)
            chart.update_from(store)
            return "\n".join(chart.render_line(y).text for y in range(12))

    picture = asyncio.run(show())
    print(picture)
    assert "500" in picture and "best" in picture
    print("=== 自测通过 ===")
