"""A series as a sparkline: one line of block characters of eight heights."""

from __future__ import annotations

import numpy as np

from lmm_tui.metrics.series.growing_array import Floats

BLOCKS = "▁▂▃▄▅▆▇█"
MISSING = "·"


def spark(
    values: Floats, width: int, span: tuple[float, float] | None = None, *, fill: bool = False
) -> str:
    """`values` in at most `width` cells, the newest at the right; `·` where none is finite.

    To `fill` the width each of a few values takes several cells.

    On a scale from the lowest to the highest value, or of a `span`. Of several values in a cell the
    one furthest from the mean of all is shown, so that no spike is lost. A constant series is drawn
    at mid-height.
    """
    values = np.asarray(values, float)
    if width <= 0 or not len(values):
        return ""
    if fill and len(values) < width:
        values = values[np.arange(width) * len(values) // width]
    cells = np.array_split(values, width) if len(values) > width else np.split(values, len(values))
    finite = values[np.isfinite(values)]
    if not len(finite):
        return MISSING * len(cells)
    low, high = span or (finite.min(), finite.max())
    centre = (finite / len(finite)).sum()
    shown = []
    for cell in cells:
        measured = cell[np.isfinite(cell)]
        if not len(measured):
            shown.append(MISSING)
            continue
        value = measured[np.abs(measured / 2 - centre / 2).argmax()]
        shown.append(BLOCKS[_level(value, low, high)])
    return "".join(shown)


def written_curve(values: object) -> str:
    """A sparkline of numbers written one after the other, as a column of runs has its curve."""
    numbers = np.array(str(values or "").split(), float)
    return spark(numbers, len(numbers))


def _level(value: float, low: float, high: float) -> int:
    if low == high:
        return len(BLOCKS) // 2 - 1
    # Halved first: the difference of two huge numbers overflows.
    share = (value / 2 - low / 2) / (high / 2 - low / 2)
    return min(int(share * len(BLOCKS)), len(BLOCKS) - 1)


if __name__ == "__main__":
    noisy = np.sin(np.arange(1000) / 80)
    noisy[500] = 4.0
    print(spark(noisy, 60))
    assert len(spark(noisy, 60)) == 60 and spark(noisy, 60).count("█") == 1
    assert spark(np.array([1.0, np.nan, 2.0]), 8) == "▁·█"
    print("=== 自测通过 ===")
