"""Several runs side by side: results, seeds, answers, evaluations, and their columns as plots.

What the pages show is of `runs.comparison`, read in a thread; the curves have a screen of their
own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from lmm_tui.charts.parallel import ParallelPlot
from lmm_tui.charts.run_points import PlottedColumn, quarters
from lmm_tui.charts.scatter import ScatterPlot
from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.messages import OVERLAY
from lmm_tui.cockpit.screens.comparison_tables import SETTINGS, ShownTable, tables_of
from lmm_tui.cockpit.screens.polling_screen import PollingScreen
from lmm_tui.cockpit.widgets.key_bar import ScreenKeys
from lmm_tui.cockpit.widgets.page_tabs import PageTabs
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs
from lmm_tui.cockpit.widgets.table import Table
from lmm_tui.i18n.language import mark, tr
from lmm_tui.runs.comparison import Comparison
from lmm_tui.runs.run_details import RunDetails
from lmm_tui.runs.run_list import ListedRun
from lmm_tui.terminal.safe_text import clean

SCATTER, PARALLEL = mark("scatter"), mark("parallel")
_OF_SCATTER = ("comparison.x", "comparison.y")
_TITLES = {"best": mark("best val"), "seconds": mark("time"), "speed": "tok/s"}


@dataclass
class ComparisonRead(Message):
    """A thread has read the runs: the tables by their titles, and how they are plotted."""

    tables: dict[str, ShownTable]
    plotted: dict[str, PlottedColumn]
    parallel: list[str]
    quarters: tuple[int | None, ...]
    metric: str


class ComparisonScreen(PollingScreen):
    """The runs as they were listed; what is new of those that are live is read here."""

    BINDINGS = bindings("comparison")
    AUTO_FOCUS = "Table"
    LOOK_EVERY_S = 3.0
    DEFAULT_CSS = """
    ComparisonScreen { layout: vertical; }
    ComparisonScreen Container { height: 1fr; }
    ComparisonScreen #detail { height: 5; padding: 0 2; border-top: solid $panel; }
    """

    def __init__(self, runs: Sequence[ListedRun], details: RunDetails) -> None:
        super().__init__(name=OVERLAY)
        self._comparison = Comparison(runs, details)
        self._read: ComparisonRead | None = None
        self._page = 0
        self._x = self._y = ""

    def compose(self) -> ComposeResult:
        yield ScreenTabs("runs")
        yield PageTabs()
        with Container():
            yield Table((), tr("Reading …"))
            yield ScatterPlot()
            yield ParallelPlot()
        yield Static(id="detail")
        yield ScreenKeys("comparison")

    def look(self) -> None:
        self.in_background("comparison", self._read_all)

    def _read_all(self) -> Message:
        compared = self._comparison
        compared.read()
        names, columns = compared.plottable(), compared.columns
        metric = compared.metric()
        results = [columns.value(run, metric) for run in compared.runs]
        known = [float(one) if isinstance(one, int | float) else None for one in results]
        plotted = {}
        for name in names:
            title = _TITLES.get(name, name.rpartition(".")[2])
            values = [columns.value(run, name) for run in compared.runs]
            plotted[name] = PlottedColumn.of(tr(title), values)
        parallel = compared.parallel()
        return ComparisonRead(tables_of(compared), plotted, parallel, quarters(known), metric)

    def on_comparison_read(self, message: ComparisonRead) -> None:
        self._read = message
        names = [*message.plotted]
        if self._x not in names:
            numeric = [name for name in names if message.plotted[name].scale.kind != "names"]
            self._x = [*numeric, *names, ""][0]
        if self._y not in names:
            self._y = message.metric if message.metric in names else (names or [""])[-1]
        self._show()

    @property
    def pages(self) -> list[str]:
        """The titles of the pages that there is something on."""
        if self._read is None:
            return []
        plots = [SCATTER, PARALLEL] if len(self._read.plotted) > 1 else []
        return [*self._read.tables, *plots]

    def _show(self) -> None:
        if self._read is None:
            return
        pages = self.pages
        self._page = min(self._page, len(pages) - 1)
        page = pages[self._page]
        self.query_one(PageTabs).show(tuple(map(tr, pages)), self._page)
        count = len(self._comparison.runs)
        self.query_one(ScreenTabs).show(tr("{count} runs compared", count=count))
        table, scatter = self.query_one(Table), self.query_one(ScatterPlot)
        parallel = self.query_one(ParallelPlot)
        table.display = page in self._read.tables
        scatter.display, parallel.display = page == SCATTER, page == PARALLEL
        self.query_one(ScreenKeys).leave_out(*(() if scatter.display else _OF_SCATTER))
        if table.display:
            shown = self._read.tables[page]
            table.set_columns(shown.columns)
            table.show(shown.rows, empty="")
        elif page == SCATTER:
            names = [run.name for run in self._comparison.runs]
            columns = self._read.plotted
            scatter.show(names, columns[self._x], columns[self._y], self._read.quarters)
        else:
            plotted = self._read.plotted
            shown_columns = [plotted[name] for name in self._read.parallel if name in plotted]
            parallel.show(shown_columns, self._read.quarters)
        self.call_after_refresh(self._show_detail)

    def on_resize(self) -> None:
        self.call_after_refresh(self._show_detail)

    @on(Table.Moved)
    def _show_detail(self) -> None:
        """The whole text of the row under the cursor, or what the colours of a plot mean."""
        if self._read is None:
            return
        page = self.pages[self._page]
        if page in self._read.tables:
            table = self.query_one(Table)
            key = table.cursor or ""
            repeats = page == SETTINGS and table.shows_whole(key)
            text = "" if repeats else self._read.tables[page].details.get(key, "")
        else:
            text = tr("green: the best quarter by {metric}, then blue, orange, red",
                      metric=tr(_TITLES.get(self._read.metric, self._read.metric)))  # fmt: skip
        self.query_one("#detail", Static).update(Content(clean(text, newlines="keep")))

    def action_turn(self, by: int) -> None:
        if self.pages:
            self._page = (self._page + by) % len(self.pages)
            self._show()

    def action_open_page(self, number: int) -> None:
        """Open a page by a click on its title."""
        self._page = number - 1
        self._show()

    def action_next_x(self) -> None:
        self._x = self._after(self._x)
        self._show()

    def action_next_y(self) -> None:
        self._y = self._after(self._y)
        self._show()

    def _after(self, name: str) -> str:
        names = [*self._read.plotted] if self._read else []
        return names[(names.index(name) + 1) % len(names)] if name in names else name

    def action_close(self) -> None:
        self.dismiss(None)


if __name__ == "__main__":
    from pathlib import Path

    screen = ComparisonScreen((), RunDetails(Path()))
    print(screen.pages, SCATTER, PARALLEL)
    print("=== 自测通过 ===")
