"""Which panels stand on which page, for every size of terminal from 60x15 to a wall.

Data only: a set of pages a size, the roomiest that fits is taken. What is `first` and `second`
depends on the stage of the run; so do the titles with these names in braces.
"""

from __future__ import annotations

from textual.geometry import Size

from lmm_tui.cockpit.widgets.panel_grid import Column, Page, Row
from lmm_tui.cockpit.widgets.probe_panel import LINES as PROBE_LINES
from lmm_tui.i18n.language import mark

_PROBES = Row(("probes",), lines=PROBE_LINES + 2)
_VERDICT, _HEALTH = Row(("health",), lines=3), Row(("health",), lines=5)

_WALL = (
    Page(
        mark("everything"),
        (
            Column(
                (
                    Row(("first",), weight=9),
                    Row(("second", "grad"), weight=7),
                    Row(("lr", "speed"), weight=7),
                ),
                weight=21,
            ),
            Column(
                (
                    _PROBES,
                    Row(("layers",), 5),
                    Row(("samples",), 5),
                    _HEALTH,
                    Row(("events",), 5),
                ),
                weight=13,
            ),
        ),
    ),
)

_TALL = (
    Page(
        mark("training"),
        (
            Column(
                (
                    Row(("first",), 7),
                    Row(("second", "grad"), 5),
                    _PROBES,
                    _HEALTH,
                    Row(("events",), 3),
                )
            ),
        ),
    ),
    Page(
        mark("model"),
        (Column((Row(("lr", "speed"), 5), Row(("layers",), 5), Row(("samples",), 6))),),
    ),
)

_DESK = (
    Page(
        mark("training"),
        (
            Column((Row(("first",), 6), Row(("second", "grad"), 5)), weight=21),
            Column((_PROBES, Row(("samples",)), _VERDICT, Row(("events",))), weight=12),
        ),
    ),
    Page(
        mark("model"),
        (
            Column((Row(("lr", "speed"), 5), Row(("layers",), 6)), weight=21),
            Column((Row(("samples",)), Row(("events",))), weight=12),
        ),
    ),
)

_BOOK = (
    Page("{first}", (Column((Row(("first",), 5), _VERDICT, Row(("events",), 2))),)),
    Page(mark("gradients"), (Column((Row(("grad",)), Row(("layers",)))),)),
    Page(mark("{second}, LR"), (Column((Row(("second",)), Row(("lr", "speed")))),)),
    Page(mark("probes"), (Column((_PROBES, Row(("health",)))),)),
    Page(mark("samples"), (Column((Row(("samples",)),)),)),
)

_CARD = tuple(
    Page(title, (Column((Row(panels),)),))
    for title, panels in (
        ("{first}", ("first",)),
        (mark("gradients"), ("grad",)),
        (mark("layers"), ("layers",)),
        ("{second}", ("second",)),
        (mark("LR, speed"), ("lr", "speed")),
        (mark("probes"), ("probes",)),
        (mark("samples"), ("samples",)),
        (mark("health"), ("health",)),
        (mark("events"), ("events",)),
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


if __name__ == "__main__":
    for columns, lines in ((200, 50), (120, 30), (80, 50), (80, 24), (60, 15)):
        chosen = pages_for(Size(columns, lines))
        print(f"{columns}x{lines}:", ", ".join(page.title for page in chosen))
    everything = _WALL[0].panels
    assert all(
        {panel for page in pages for panel in page.panels} == set(everything)
        for pages in (_TALL, _DESK, _BOOK, _CARD)
    )
    print("=== 自测通过 ===")
