"""What the plots of columns of runs have in common: a column's values as places, quarters as inks.

Runs are coloured by their result: the best quarter green, then blue, orange and red.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.style import Style

from lmm_tui.charts.canvas import FIRST_FREE_INK, LABEL
from lmm_tui.metrics.drawing.palette import QUARTERS, shade
from lmm_tui.runs.run_columns import Value
from lmm_tui.runs.value_scale import ValueScale

SIGNS = "●◆▲×"
"""A sign for each quarter, as colours may not be seen."""
SIGNS_ASCII = "o*+x"


@dataclass(frozen=True)
class PlottedColumn:
    """A column of some runs: where each run stands on its axis, None where it has no value."""

    title: str
    scale: ValueScale
    places: tuple[float | None, ...]

    @classmethod
    def of(cls, title: str, values: Iterable[Value]) -> PlottedColumn:
        known = list(values)
        scale = ValueScale.of(known)
        return cls(title, scale, tuple(map(scale.place, known)))


def quarters(results: Sequence[float | None]) -> tuple[int | None, ...]:
    """0 for the lowest quarter of the results to 3 for the highest; None without a result."""
    known = sorted(one for one in results if one is not None and math.isfinite(one))
    return tuple(
        None
        if one is None or not math.isfinite(one)
        else min(4 * known.index(one) // max(len(known), 1), 3)
        for one in results
    )


def ink_of(quarter: int | None) -> int:
    return LABEL if quarter is None else FIRST_FREE_INK + quarter


def quarter_styles(base: Style, *, dark: bool) -> list[Style]:
    return [base + Style(color=shade(color, dark=dark).line) for color in QUARTERS]


if __name__ == "__main__":
    print(PlottedColumn.of("lr", [1e-4, 1e-2, None]), quarters([3.0, 1.0, None, 2.0, 4.0]))
    assert quarters([3.0, 1.0, 2.0, 4.0]) == (2, 0, 1, 3)
    print("=== 自测通过 ===")
