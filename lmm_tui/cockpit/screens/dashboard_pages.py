"""The pages of the dashboard: the overview, pinned metrics, maps of layers, every group of metrics;
or only the metrics that were searched for. And which page is open.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.geometry import Size

from lmm_tui.cockpit.pinned_metrics import PinnedMetrics
from lmm_tui.cockpit.screens.metric_groups import grid, grouped, matching
from lmm_tui.cockpit.screens.page_layouts import pages_for, without
from lmm_tui.cockpit.widgets.panel_grid import Page
from lmm_tui.i18n.language import tr
from lmm_tui.metrics import names

_METRIC = "metric-"
_LAYERS = "layers-"


class DashboardPages:
    """One page is always open; call `lay_out` after anything that pages depend on has changed."""

    def __init__(self, shelf: PinnedMetrics) -> None:
        self.shelf = shelf
        self.words = ""
        """The search; if there is one, the pages have the metrics that match it."""
        self.absent: frozenset[str] = frozenset()
        """Panels of the overview that are not to be shown."""
        self._index = 0
        self._metrics: list[str] = []
        self._numbers: dict[str, int] = {}
        self._known: list[str] = []
        self._pages: Sequence[Page] = pages_for(Size(0, 0))
        self._of: object = None

    @property
    def pages(self) -> Sequence[Page]:
        return self._pages

    @property
    def index(self) -> int:
        return self._index

    @property
    def page(self) -> Page:
        return self._pages[self._index]

    def lay_out(self, metrics: Sequence[str], screen: Size, grid_size: Size) -> bool:
        """Make the pages for these metrics, a size of the screen and of the grid in it.

        True if they have changed.
        """
        of = len(metrics), metrics[-1:], screen, grid_size, self.shelf, self.words, self.absent
        if of == self._of:
            return False
        self._of, self._metrics = of, list(metrics)
        for metric in metrics:
            if metric not in self._numbers:
                self._numbers[metric] = len(self._known)
                self._known.append(metric)
        before = self._pages
        self._pages = tuple(self._make(screen, grid_size))
        self._index = min(self._index, len(self._pages) - 1)
        return self._pages != before

    def turn_to(self, index: int) -> None:
        """Open a page; after the last comes the first."""
        self._index = index % len(self._pages)

    def metric_of(self, panel: str | None) -> str | None:
        """The metric in a panel of a grid; None for a panel of the overview."""
        if panel is None or not panel.startswith(_METRIC):
            return None
        return self._known[int(panel.removeprefix(_METRIC))]

    def _make(self, screen: Size, grid_size: Size) -> list[Page]:
        if self.words:
            found = matching(self._metrics, self.words)
            title = tr(
                "/{words}  {count:,} of {all:,}",
                words=self.words,
                count=len(found),
                all=len(self._metrics),
            )
            return grid(title, self._panels(found), grid_size) or [Page(title, ())]
        measured = set(self._metrics)
        pinned = [metric for metric in self.shelf.pinned if metric in measured]
        shown = [metric for metric in self._metrics if metric not in self.shelf.hidden]
        overview = without(pages_for(screen), self.absent)
        pages = [*overview, *grid(tr("pinned"), self._panels(pinned), grid_size)]
        pages += grid(tr("layers over time"), layer_maps(shown), grid_size)
        for group, members in grouped(shown).items():
            pages += grid(tr(group), self._panels(members), grid_size)
        return pages or [Page("", ())]

    def _panels(self, metrics: Sequence[str]) -> list[str]:
        return [f"{_METRIC}{self._numbers[metric]}" for metric in metrics]


def layer_maps(metrics: Sequence[str]) -> list[str]:
    """The panels of the deep probes that have been measured layer by layer."""
    measured = {name.split("/")[1] for name in metrics if name.startswith(names.DEEP)}
    return [_LAYERS + family for family in names.DEEP_LAYERS if family in measured]


def layer_prefix(panel: str) -> str | None:
    """The common prefix of the series in a map of layers; None for other panels."""
    if not panel.startswith(_LAYERS):
        return None
    return f"{names.DEEP}{panel.removeprefix(_LAYERS)}/"


if __name__ == "__main__":
    book = DashboardPages(PinnedMetrics())
    measured = ["train/loss", "val/loss", *(f"mine/{number}" for number in range(30))]
    for book.words in ("", "mine 2"):
        book.lay_out(measured, Size(200, 50), Size(200, 45))
        print([page.title for page in book.pages], sorted(book.page.panels)[:3])
    print("=== 自测通过 ===")
