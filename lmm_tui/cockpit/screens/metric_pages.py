"""Which charts the dashboard shows: pages are turned, metrics searched, pinned and hidden, one
panel zoomed to the whole page.

The pages themselves are computed by `DashboardPages`; this puts the open one on the screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import events, on
from textual.geometry import Size

from lmm_tui.charts.chart import Chart
from lmm_tui.cockpit.pinned_metrics import PinnedMetrics
from lmm_tui.cockpit.screens.chart_gestures import ChartGestures
from lmm_tui.cockpit.screens.dashboard_pages import DashboardPages, layer_prefix
from lmm_tui.cockpit.screens.dashboard_panels import make_layer_map
from lmm_tui.cockpit.screens.metric_charts import MetricCharts
from lmm_tui.cockpit.screens.metric_groups import matching, panels_a_page
from lmm_tui.cockpit.widgets.filter_input import FilterInput
from lmm_tui.cockpit.widgets.panel_grid import Page, PanelGrid
from lmm_tui.i18n.language import mark, tr

_RESERVE_AFTER_S = 0.2
"""The page has been painted by then."""


class MetricPages(ChartGestures):
    """For screens with the view and metric commands of the bindings of `dashboard`.

    Subclasses set `_book` and `_metric_charts`, and compose a PanelGrid whose panel `first` is a
    chart, and a FilterInput.
    """

    _book: DashboardPages
    _metric_charts: MetricCharts
    _zoomed = False

    def measured(self) -> list[str]:
        """The names of all metrics."""
        raise NotImplementedError

    def show(self) -> None:
        """Show everything again."""
        raise NotImplementedError

    def draw_charts(self) -> None:
        """Draw the values of the run on all charts."""
        raise NotImplementedError

    def show_pages(self) -> None:
        """Show which page is open, of which; called after anything that pages depend on."""
        raise NotImplementedError

    @property
    def pages(self) -> Sequence[Page]:
        return self._book.pages

    @property
    def shelf(self) -> PinnedMetrics:
        """What is pinned and what is hidden."""
        return self._book.shelf

    @property
    def zoomed(self) -> bool:
        """Whether one panel has the whole page."""
        return self._zoomed

    def shown_title(self) -> str:
        if self._zoomed:
            return next(chart.title for chart in self.query(Chart) if chart.is_on_screen)
        return self._book.page.title

    # Pages

    def on_resize(self, event: events.Resize) -> None:
        """Lay out the page for the new size before Textual lays out and paints for it."""
        grid = self.query_one(PanelGrid).size
        regions = [child.region for child in self.children]
        before = Size(max(part.right for part in regions), max(part.bottom for part in regions))
        if grid and event.size != before:
            # What is above and below the grid stays as high as it was.
            lines = grid.height + event.size.height - before.height
            self._lay_out(event.size, Size(event.size.width, max(lines, 0)))
        self.call_after_refresh(self.show)
        self.set_timer(_RESERVE_AFTER_S, self._reserve_charts)

    def lay_out(self) -> None:
        """Update the pages, and open the current one where they have changed."""
        self._lay_out(self.app.size, self.query_one(PanelGrid).size)

    def _lay_out(self, screen: Size, grid: Size) -> None:
        if self._book.lay_out(self.measured(), screen, grid):
            self._open_page()

    def _reserve_charts(self) -> None:
        """Make the charts that another page or a search needs before they are needed."""
        self._metric_charts.reserve(panels_a_page(self.query_one(PanelGrid).size))

    def action_turn_page(self, by: int) -> None:
        self._turn_to(self._book.index + by)

    def action_open_page(self, number: int) -> None:
        if number <= len(self._book.pages):
            self._turn_to(number - 1)

    def _turn_to(self, index: int) -> None:
        self._book.turn_to(index)
        self._open_page()
        self.show_pages()

    def _open_page(self) -> None:
        """Show the open page, with charts for its metrics and none for those of other pages."""
        self._zoomed = False
        grid, page = self.query_one(PanelGrid), self._book.page
        first = self.query_one("#first", Chart)
        self._metric_charts.show_page(like=first)
        mounted = {child.id for child in grid.children}
        for panel in page.panels:
            if panel not in mounted and (prefix := layer_prefix(panel)):
                layer_map = make_layer_map(prefix, panel)
                layer_map.view, layer_map.cursor = first.view, first.cursor
                grid.mount(layer_map)
        grid.open_page(page)
        self.draw_charts()

    # One panel

    def action_zoom(self) -> None:
        if self._zoomed:
            self._open_page()
            self.show_pages()
        elif self.focused is not None and self.focused.parent is self.query_one(PanelGrid):
            self._zoomed = True
            self.query_one(PanelGrid).zoom_to(self.focused)
            self.draw_charts()
            self.show_pages()
        else:
            self.toast(tr("Select a panel with tab first; enter then zooms it"), "zoom")

    def action_restore(self) -> None:
        """One thing at a time: end the zoom, the search, the cursor, the focus."""
        if self._zoomed:
            self._open_page()
            self.show_pages()
        elif self._book.words:
            self.query_one(FilterInput).leave(drop=True)
        elif not self.drop_cursor():
            self.set_focus(None)

    # Metrics

    def action_search(self) -> None:
        self.query_one(FilterInput).open()
        # What is searched is put together while a person thinks of a word.
        self.call_after_refresh(lambda: matching(self.measured(), "a"))

    def search_metric(self, name: str) -> None:
        """Show the charts of the metrics whose names have `name` in them."""
        searched = self.query_one(FilterInput)
        searched.value = name
        searched.leave(drop=False)

    @on(FilterInput.Edited)
    def _search(self, message: FilterInput.Edited) -> None:
        self._book.words = message.text.strip()
        self._book.turn_to(0)
        self.show_pages()

    @on(FilterInput.Left)
    def _search_left(self) -> None:
        self.set_focus(None)

    def action_pin(self) -> None:
        self._change_shelf(lambda shelf, metric: shelf.pin(metric))

    def action_hide(self) -> None:
        self._change_shelf(lambda shelf, metric: shelf.hide(metric))

    def action_move_pinned(self, by: int) -> None:
        self._change_shelf(lambda shelf, metric: shelf.move(metric, by))

    def _change_shelf(self, change: Callable[[PinnedMetrics, str], PinnedMetrics]) -> None:
        """Apply a change to the metric of the focused chart, which keeps the focus."""
        panel = self.query_one(PanelGrid).panel_of(self.focused) if self.focused else None
        metric = self._book.metric_of(panel)
        if metric is None:
            self.toast(
                tr("Select a metric's chart with tab first; ] shows more pages"), mark("metrics")
            )
        else:
            self._book.shelf = change(self._book.shelf, metric)
            self.show_pages()
            self.set_focus(self._metric_charts.chart_of(metric) or self.focused)


if __name__ == "__main__":
    demo = MetricPages()
    demo._book = DashboardPages(PinnedMetrics())
    demo._book.lay_out(["train/loss", "mine/0"], Size(80, 24), Size(80, 20))
    print([page.title for page in demo.pages], demo.shown_title())
    print("=== 自测通过 ===")
