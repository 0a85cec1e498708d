"""The panels of the overview pages, for every size of terminal from 60x15 on.

The roomiest set of pages that fits is taken; all are the overview, in as many pages as it needs.
Which charts are `first` and `second` depends on the stage of the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from textual.geometry import Size

from lmm_tui.cockpit.widgets.panel_grid import GridColumn, GridRow, Page
from lmm_tui.cockpit.widgets.probe_panel import FEW_LINES
from lmm_tui.cockpit.widgets.probe_panel import LINES as PROBE_LINES
from lmm_tui.i18n.language import mark

OVERVIEW = mark("overview")
"""The title of all pages here: the tabs join pages of one title."""

_PROBES = GridRow(("probes",), lines=FEW_LINES + 2)
_VERDICT, _HEALTH = GridRow(("health",), lines=3), GridRow(("health",), lines=5)


def _page(*columns: GridColumn) -> Page:
    return Page(OVERVIEW, columns)


def _column(*rows: GridRow, weight: int = 1) -> GridColumn:
    return GridColumn(rows, weight)


_WALL = (
    _page(
        _column(
            GridRow(("first",), 9),
            GridRow(("second", "grad", "clip"), 6),
            GridRow(("lr", "speed", "layers"), 6),
            weight=21,
        ),
        _column(GridRow(("samples",), 8), _PROBES, _HEALTH, GridRow(("events",), 5), weight=13),
    ),
)

_TALL = (
    _page(
        _column(
            GridRow(("first",), 7),
            GridRow(("second", "grad"), 5),
            GridRow(("samples",), 5),
            _PROBES,
            _VERDICT,
        )
    ),
    _page(
        _column(
            GridRow(("lr", "speed"), 5),
            GridRow(("clip", "layers"), 5),
            GridRow(("health",), 3),
            GridRow(("events",), 4),
        )
    ),
)

_DESK = (
    _page(
        _column(GridRow(("first",), 6), GridRow(("second", "grad"), 5), weight=21),
        _column(GridRow(("samples",), 5), _PROBES, GridRow(("events",), 3), weight=12),
    ),
    _page(
        _column(GridRow(("lr", "speed"), 5), GridRow(("clip", "layers"), 5), weight=21),
        _column(GridRow(("health",)), GridRow(("events",)), weight=12),
    ),
)

_BOOK = (
    _page(_column(GridRow(("first",), 5), GridRow(("samples",), 3))),
    _page(_column(GridRow(("grad", "clip")), GridRow(("layers",)))),
    _page(_column(GridRow(("second",)), GridRow(("lr", "speed")))),
    _page(_column(GridRow(("probes",), lines=PROBE_LINES + 2), GridRow(("health",)))),
    _page(_column(GridRow(("events",)))),
)

_CARD = tuple(
    _page(_column(GridRow(panels)))
    for panels in (
        ("first",),
        ("samples",),
        ("grad", "clip"),
        ("layers",),
        ("second",),
        ("lr", "speed"),
        ("probes",),
        ("health",),
        ("events",),
    )
)

_SIZES: tuple[tuple[Size, tuple[Page, ...]], ...] = (
    (Size(150, 40), _WALL),
    (Size(100, 25), _DESK),
    (Size(64, 40), _TALL),
    (Size(60, 22), _BOOK),
)


def pages_for(size: Size) -> tuple[Page, ...]:
    """The pages for a terminal of `size`."""
    for least, pages in _SIZES:
        if size.width >= least.width and size.height >= least.height:
            return pages
    return _CARD


def without(pages: Sequence[Page], absent: frozenset[str]) -> tuple[Page, ...]:
    """The pages without some panels.

    A column that is left with rows of fixed height only gives them to the column before; a page
    without a panel that no page before it has is left out.
    """
    kept = []
    shown: set[str] = set()
    for page in pages:
        columns: list[GridColumn] = []
        for column in page.columns:
            rows = tuple(
                replace(row, panels=left)
                for row in column.rows
                if (left := tuple(panel for panel in row.panels if panel not in absent))
            )
            if columns and rows and all(row.lines for row in rows):
                columns[-1] = replace(columns[-1], rows=columns[-1].rows + rows)
            elif rows:
                columns.append(replace(column, rows=rows))
        panels = {panel for column in columns for row in column.rows for panel in row.panels}
        if panels <= shown:
            continue
        shown |= panels
        if any(not row.lines for row in columns[0].rows):
            kept.append(replace(page, columns=tuple(columns)))
        else:
            kept.append(replace(page, columns=tuple(map(_stretched, columns))))
    return tuple(kept)


def _stretched(column: GridColumn) -> GridColumn:
    return replace(column, rows=tuple(replace(row, lines=0) for row in column.rows))


if __name__ == "__main__":
    for columns, lines in ((200, 50), (120, 30), (80, 50), (80, 24), (60, 15)):
        print(f"{columns}x{lines}:", *(page.panels for page in pages_for(Size(columns, lines))))
    print("=== 自测通过 ===")
