"""Pages of panels: a page is columns of rows of panels, and fills whatever room there is.

Panels keep their identity while pages turn and sizes change; those that are not on the page are
not displayed, so they cost nothing. It knows nothing of what a panel shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from textual.geometry import NULL_OFFSET, Region, Size, Spacing
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.widget import Widget


@dataclass(frozen=True)
class Row:
    """Panels beside each other, by id; `lines` high, or a share of the rest by `weight`."""

    panels: tuple[str, ...]
    weight: int = 1
    lines: int = 0


@dataclass(frozen=True)
class Column:
    rows: tuple[Row, ...]
    weight: int = 1


@dataclass(frozen=True)
class Page:
    title: str
    columns: tuple[Column, ...]

    @property
    def panels(self) -> frozenset[str]:
        return frozenset(
            panel for column in self.columns for row in column.rows for panel in row.panels
        )

    def regions(self, size: Size) -> Iterator[tuple[str, Region]]:
        """Where each panel stands: the tiles cover `size` without gap or overlap."""
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
                    yield panel, Region(left, y, part, height)
                    left += part
                y += height
            x += width


def divide(length: int, weights: list[int]) -> list[int]:
    """Whole parts in the ratio of `weights` that add up to `length`."""
    total = max(sum(weights), 1)
    edges = [length * sum(weights[:index]) // total for index in range(len(weights) + 1)]
    return [after - before for before, after in pairwise(edges)]


class _TileLayout(Layout):
    name = "tiles"

    def __init__(self, page: Page) -> None:
        self._page = page

    def arrange(
        self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True
    ) -> ArrangeResult:
        regions = dict(self._page.regions(size))
        return [
            WidgetPlacement(regions[child.id], NULL_OFFSET, Spacing(), child)
            for child in children
            if child.id in regions
        ]


class Tiles(Widget):
    """Shows one page of its children."""

    DEFAULT_CSS = """
    Tiles { height: 1fr; width: 1fr; }
    """

    def __init__(self, *children: Widget, page: Page, id: str | None = None) -> None:
        super().__init__(*children, id=id)
        self._page = page
        self._tile_layout = _TileLayout(page)

    @property
    def layout(self) -> Layout:
        return self._tile_layout

    @property
    def page(self) -> Page:
        return self._page

    def zoom(self, panel: str) -> None:
        """Give one panel the whole page, until a page is opened."""
        self.open_page(Page(panel, (Column((Row((panel,)),)),)))

    def open_page(self, page: Page) -> None:
        self._page = page
        self._tile_layout = _TileLayout(page)
        self._show_panels()
        self.refresh(layout=True)

    def on_mount(self) -> None:
        self._show_panels()

    def _show_panels(self) -> None:
        for child in self.children:
            child.display = child.id in self._page.panels


if __name__ == "__main__":
    shown = Page(
        "demo",
        (
            Column((Row(("loss",), weight=2), Row(("lr", "speed"))), weight=2),
            Column((Row(("probes",), lines=11), Row(("events",)))),
        ),
    )
    areas = dict(shown.regions(Size(100, 30)))
    for panel, region in areas.items():
        print(panel, region)
    assert sum(region.area for region in areas.values()) == 100 * 30
    print("=== 自测通过 ===")
