"""The charts of single metrics on the open page of the dashboard, made once and used again.

Making a widget costs more than drawing a chart, so the existing charts show whatever metrics the
page has, be they others at every letter of a search. The plot of each metric is kept, with its
scale, for when the metric is shown again.
"""

from __future__ import annotations

from itertools import zip_longest

from lmm_tui.charts.chart import Chart
from lmm_tui.charts.plot import Plot
from lmm_tui.charts.run_chart import RunChart
from lmm_tui.cockpit.screens.dashboard_pages import DashboardPages
from lmm_tui.cockpit.screens.dashboard_panels import make_metric_chart, plot_of
from lmm_tui.cockpit.widgets.panel_grid import PanelGrid


class MetricCharts:
    """Charts for the panels of the open page that are metrics, in their order."""

    def __init__(self, book: DashboardPages, grid: PanelGrid) -> None:
        self._book, self._grid = book, grid
        self._charts: list[Chart] = []
        self._plots: dict[str, Plot] = {}

    def reserve(self, count: int) -> None:
        """Make that many charts, so that a page with them opens at once."""
        missing = [make_metric_chart() for _ in range(count - len(self._charts))]
        self._charts += missing
        self._grid.mount_all(missing)

    def show_page(self, like: RunChart) -> None:
        """Show the metrics of the open page; new ones get the view and cursor of `like`."""
        panels = [panel for panel in self._book.page.panels if self._book.metric_of(panel)]
        self.reserve(len(panels))
        for chart, panel in zip_longest(self._charts, panels):
            self._grid.rename(chart, panel)
            if panel is not None and chart.plot is not (plot := self._plot(panel)):
                chart.view, chart.cursor = like.view, like.cursor
                chart.plot = plot

    def chart_of(self, metric: str) -> Chart | None:
        """The chart of a metric, if it is on the open page."""
        for chart in self._charts:
            if self._book.metric_of(self._grid.panel_of(chart)) == metric:
                return chart
        return None

    def _plot(self, panel: str) -> Plot:
        if panel not in self._plots:
            metric = self._book.metric_of(panel)
            assert metric is not None
            self._plots[panel] = plot_of(metric)
        return self._plots[panel]


if __name__ == "__main__":
    from textual.geometry import Size

    from lmm_tui.cockpit.pinned_metrics import NOTHING

    book = DashboardPages(NOTHING)
    book.lay_out(["train/loss"], Size(80, 24), Size(80, 20))
    plot = MetricCharts(book, PanelGrid(page=book.page))._plot("metric-0")
    print(plot.title, plot.traces)
    print("=== 自测通过 ===")
