"""Past values as an area of blocks, one reading a cell, the newest at the right; and its time axis.

Several graphs of one width under each other have the same time in the same column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content

from lmm_tui.charts.sparkline import BLOCKS
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.number_format import duration
from lmm_tui.terminal.safe_text import clean, fit

QUIET = "$foreground 60%"
WARM, HOT = 0.75, 0.92


def heat(share: float | None) -> str:
    """The colour of a share of what there is."""
    if share is None:
        return QUIET
    return "$error" if share >= HOT else "$warning" if share >= WARM else "$success"


def load(share: float | None) -> str:
    """The colour of how busy a processor is: that it works is no trouble."""
    return QUIET if share is None else "$success"


def titled(title: str, value: str, details: str, width: int, colour: str = "") -> Content:
    """The line above a graph: what it shows, the present value, and more about it."""
    line = Content.assemble(
        (clean(title), "bold"),
        "  ",
        (clean(value), colour or "bold"),
        "  ",
        (clean(details), QUIET),
    )
    line = line.truncate(width, ellipsis=True)
    return Content.assemble(line, " " * max(width - line.cell_length, 0))


def graph(
    values: Sequence[float | None], top: float, width: int, height: int, colour: str = "$accent"
) -> list[Content]:
    """`height` lines; a value of None or without a number leaves its cell empty.

    The scale begins at 0 and ends at `top`. A value above 0 shows at least the lowest block.
    """
    seen = list(values)[-width:]
    cells = [_eighths(value, top, height) for value in [None] * (width - len(seen)) + seen]
    lines = []
    for row in range(height - 1, -1, -1):
        shown = "".join(_block(cell - 8 * row) for cell in cells)
        ground = "$panel" if row == 0 else ""
        text = shown.replace(" ", "▁") if row == 0 and not any(cells) else shown
        lines.append(Content.styled(text, colour if any(cells) else ground or colour))
    return lines


def time_axis(width: int, seconds_a_cell: float) -> Content:
    """`3 min ago … now`, below the graphs."""
    begin = tr("{time} ago", time=duration(width * seconds_a_cell))
    middle = duration(width * seconds_a_cell / 2)
    end = tr("now")
    left = fit(begin, width // 2 - cell_len(middle) // 2) if width > 40 else begin
    middle = middle if width > 40 else ""
    gap = max(width - cell_len(left) - cell_len(middle) - cell_len(end), 1)
    return Content.styled(f"{left}{middle}{' ' * gap}{end}", QUIET).truncate(width)


def _eighths(value: float | None, top: float, height: int) -> int:
    if value is None or not math.isfinite(value) or value <= 0 or top <= 0:
        return 0
    return max(round(min(value / top, 1.0) * 8 * height), 1)


def _block(eighths: int) -> str:
    if eighths <= 0:
        return " "
    return BLOCKS[min(eighths, 8) - 1]


if __name__ == "__main__":
    past: list[float | None] = [index % 17 / 17 for index in range(30)]
    print(titled("CPU", "45 %", "load 1.2", 40).plain)
    print(*(line.plain for line in graph(past, 1.0, 40, 3)), sep="\n")
    print(time_axis(40, 2.0).plain)
    assert [line.cell_length for line in graph(past, 1.0, 40, 3)] == [40] * 3
    print("=== 自测通过 ===")
