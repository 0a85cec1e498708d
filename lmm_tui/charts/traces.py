"""What a plot shows: traces (a metric with its label, colour and kind) and marks on the x axis.

A trace is drawn in two inks, which `lmm_tui.charts.chart` turns into colours.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_uppercase
from typing import Literal, TypeAlias

from lmm_tui.charts.canvas import FIRST_FREE_INK
from lmm_tui.metrics.drawing.palette import SeriesColor
from lmm_tui.metrics.series.series import Bins, Series

Kind: TypeAlias = Literal["band", "line", "smooth", "marks"]

_SIGNS = "o+*#@%&$" + ascii_uppercase


@dataclass(frozen=True)
class Trace:
    """How a metric is drawn.

    Every kind has a dim band from the lowest to the highest value of each column, so that no spike
    is lost, but `smooth`, which is a smoothed line alone. A `band` is only that, a `line` adds the
    mean, and `marks` add a line with its points, for a metric that is measured rarely.
    """

    metric: str
    label: str
    color: SeriesColor
    kind: Kind


@dataclass(frozen=True)
class Mark:
    """An event at a step."""

    step: int
    severe: bool
    text: str = ""
    """What the cursor says there."""


@dataclass(frozen=True)
class ShownTrace:
    """A trace that has values, with those that are visible."""

    number: int
    """Its position among the traces of the plot."""
    trace: Trace
    series: Series
    bins: Bins
    scaled: Bins
    """The bins in units of the y axis: log10 on a log plot."""

    @property
    def is_line(self) -> bool:
        return self.trace.kind != "band"

    @property
    def line_ink(self) -> int:
        return line_ink(self.number)

    @property
    def band_ink(self) -> int:
        return band_ink(self.number)


def line_ink(trace: int) -> int:
    """The ink of the line of the trace with this number."""
    return FIRST_FREE_INK + 2 * trace


def band_ink(trace: int) -> int:
    """The ink of its dim band."""
    return line_ink(trace) + 1


def sign_of(trace: int) -> str:
    """The letter on the line with this number, where colours do not tell lines apart."""
    return _SIGNS[trace % len(_SIGNS)]


if __name__ == "__main__":
    signs = [sign_of(number) for number in range(12)]
    print(signs, [(line_ink(number), band_ink(number)) for number in range(3)])
    assert len(set(signs)) == 12
    print("=== 自测通过 ===")
