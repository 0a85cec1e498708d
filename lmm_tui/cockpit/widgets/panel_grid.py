"""Pages of panels: a page is columns of rows of panels and fills the available size.

All panels are children all the time; those that are not on the open page are not displayed and
cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from textual.geometry import NULL_OFFSET, NULL_SIZE, Region, Size, Spacing
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.reactive import Reactive
from textual.widget import Widget

NO_PANEL = ""
"""A cell that stays empty."""


@dataclass(frozen=True)
class GridRow:
    """Panels side by side, by id; `lines` high, or a share of the rest by `weight`."""

    panels: tuple[str, ...]
    weight: int = 1
    lines: int = 0


@dataclass(frozen=True)
class GridColumn:
    rows: tuple[GridRow, ...]
    weight: int = 1


@dataclass(frozen=True)
class Page:
    title: str
    columns: tuple[GridColumn, ...]

    @property
    def panels(self) -> tuple[str, ...]:
        """The ids of its panels, column by column from the top left."""
        return tuple(
            panel
            for column in self.columns
            for row in column.rows
            for panel in row.panels
            if panel != NO_PANEL
        )

    def regions(self, size: Size) -> Iterator[tuple[str, Region]]:
        """The region of each panel; with empty cells they cover `size` without gap or overlap."""
        x = 0
        for column, width in zip(
            self.columns, divide(size.width, [c.weight for c in self.columns]), strict=True
        ):
            fixed = sum(row.lines for row in column.rows)
            free = divide(
                max(size.height - fixed, 0), [r.weight for r in column.rows if not r.lines]
            )
            shares = iter(free)
            y = 0
            for row in column.rows:
                height = row.lines or next(shares)
                left = x
                for panel, part in zip(
                    row.panels, divide(width, [1] * len(row.panels)), strict=True
                ):
                    if panel != NO_PANEL:
                        yield panel, Region(left, y, part, height)
                    left += part
                y += height
            x += width


def divide(length: int, weights: list[int]) -> list[int]:
    """Integers in the ratio of `weights` that add up to `length`."""
    total = max(sum(weights), 1)
    edges = [length * sum(weights[:index]) // total for index in range(len(weights) + 1)]
    return [after - before for before, after in pairwise(edges)]


class _GridLayout(Layout):
    name = "panels"

    def __init__(self, page: Page, panel_of: Callable[[Widget], str | None]) -> None:
        self._page, self._panel_of = page, panel_of

    def arrange(
        self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True
    ) -> ArrangeResult:
        regions = dict(self._page.regions(size))
        return [
            WidgetPlacement(regions[panel], NULL_OFFSET, Spacing(), child)
            for child in children
            if (panel := self._panel_of(child)) in regions
        ]


class PanelGrid(Widget):
    """Shows one page; a child is the panel of its id, or of the name given by `rename`."""

    DEFAULT_CSS = """
    PanelGrid { height: 1fr; width: 1fr; }
    """

    # Textual would lay out the screen again for a new size; no other widget depends on it.
    virtual_size = Reactive(NULL_SIZE, layout=False, repaint=False)

    def __init__(self, *children: Widget, page: Page, id: str | None = None) -> None:
        super().__init__(*children, id=id)
        self._page = page
        self._names: dict[Widget, str | None] = {}
        self._regions: dict[Widget, Region] = {}
        self._grid_layout = _GridLayout(page, self.panel_of)

    @property
    def layout(self) -> Layout:
        return self._grid_layout

    @property
    def page(self) -> Page:
        return self._page

    def panel_of(self, child: Widget) -> str | None:
        """The panel that a child is now."""
        return self._names.get(child, child.id)

    def zoom_to(self, child: Widget) -> None:
        """Show one child only, until a page is opened."""
        if panel := self.panel_of(child):
            self.open_page(Page(panel, (GridColumn((GridRow((panel,)),)),)))

    def rename(self, child: Widget, panel: str | None) -> None:
        """Make a child this panel, or none; visible when a page is opened."""
        self._names[child] = panel

    def open_page(self, page: Page) -> None:
        """Show a page; nothing is laid out again if every child keeps its region."""
        self._page = page
        self._grid_layout = _GridLayout(page, self.panel_of)
        if self._find_regions() != self._regions:
            self._show_panels()
            self.refresh(layout=True)

    def on_mount(self) -> None:
        self._show_panels()

    def _find_regions(self) -> dict[Widget, Region]:
        regions = dict(self._page.regions(self.size))
        return {
            child: regions[panel]
            for child in self.children
            if (panel := self.panel_of(child)) in regions
        }

    def _show_panels(self) -> None:
        self._regions = self._find_regions()
        for child in self.children:
            child.display = child in self._regions


if __name__ == "__main__":
    left = GridColumn((GridRow(("loss",), weight=2), GridRow(("lr", "speed"))), weight=2)
    right = GridColumn((GridRow(("probes",), lines=11), GridRow(("events",))))
    for panel, region in Page("demo", (left, right)).regions(Size(100, 30)):
        print(panel, region)
    print("=== 自测通过 ===")
