"""The chart widget: a `Plot` of traces of a store, with references, view, cursor and marks.

Its owner calls `update_from` at its own pace; nothing is drawn unless data or view changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.style import Style

from lmm_tui.charts.ansi16 import has_few_colours
from lmm_tui.charts.braille import glyphs_for
from lmm_tui.charts.canvas import Canvas
from lmm_tui.charts.plot import Plot
from lmm_tui.charts.plot_area import GUTTER, cells_across
from lmm_tui.charts.run_chart import RunChart
from lmm_tui.charts.traces import Kind, Mark, Trace
from lmm_tui.metrics.drawing.palette import SERIES_COLORS, shade
from lmm_tui.metrics.series.series import Store

__all__ = ["Chart", "Kind", "Mark", "Trace"]


class Chart(RunChart):
    """Traces of a store on any of its x axes; `update_from` is cheap where nothing changed."""

    DEFAULT_CSS = """
    Chart { width: 1fr; height: 1fr; }
    """

    def __init__(
        self,
        title: str,
        traces: Sequence[Trace],
        *,
        log: bool = False,
        unit: str = "",
        references: Mapping[str, float] | None = None,
        id: str | None = None,
    ) -> None:
        """`references` are labelled horizontal lines, shown if they are near the data."""
        super().__init__(id=id)
        self._plot = Plot(title, traces, log=log, unit=unit, glyphs=glyphs_for())
        self._references = dict(references or {})

    @property
    def plot(self) -> Plot:
        """What is drawn; set another to show other traces in the same widget."""
        return self._plot

    @plot.setter
    def plot(self, plot: Plot) -> None:
        self._plot = plot
        self.redraw()

    @property
    def title(self) -> str:
        return self._plot.title

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of its traces, measured or not."""
        return tuple(trace.metric for trace in self._plot.traces)

    @property
    def references(self) -> Mapping[str, float]:
        return self._references

    @references.setter
    def references(self, references: Mapping[str, float]) -> None:
        self._references = dict(references)
        self.update_canvas()

    def toggle_log(self) -> None:
        """Change between a linear and a logarithmic y axis."""
        self._plot.log = not self._plot.log
        self.update_canvas()

    def update_from(self, store: Store, x_end: float | None = None) -> None:
        """Show the store as it is now, with steps up to `x_end` (default: a round number)."""
        self.store, self.x_end = store, x_end
        self.update_canvas()

    def data_cells(self) -> tuple[int, int]:
        return GUTTER, cells_across(self.size.width)

    def depends_on(self) -> object:
        lengths = tuple(
            len(series) if (series := self.store.get(trace.metric)) else 0
            for trace in self._plot.traces
        )
        return super().depends_on(), lengths, self._references, self._plot, self._plot.log

    def draw(self, width: int, height: int) -> Canvas:
        colors_repeat = len(self._plot.traces) > len(SERIES_COLORS)
        self._plot.signed = colors_repeat or has_few_colours(self.app)
        return self._plot.draw(
            self.store,
            width,
            height,
            self.x_end,
            self._references,
            self.view,
            self.cursor,
            self.marks,
        )

    def ink_styles(self, base: Style, *, dark: bool) -> list[Style]:
        shades = [
            shade(trace.color, dark=dark, colourless=self.app.no_color)
            for trace in self._plot.traces
        ]
        return [base + Style(color=color) for each in shades for color in (each.line, each.band)]


if __name__ == "__main__":
    chart = Chart("loss", [Trace("train/loss", "train", "blue", "line")])
    chart.toggle_log()
    print(chart.title, chart.metrics, chart.plot.log)
    print("=== 自测通过 ===")
