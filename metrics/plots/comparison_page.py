"""One page on several runs: their curves, two of their columns against each other, and all columns
as parallel coordinates.

What is drawn is given as plain places from 0 to 1 with the labels of each axis, so that the page is
the picture that the terminal shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lmm_tui.metrics.drawing.palette import QUARTERS
from lmm_tui.metrics.plots import plot_style
from lmm_tui.metrics.printable import printable
from lmm_tui.metrics.series.growing_array import Floats

_LINES = [
    (colour, dashes)
    for dashes in ("-", "--", ":", "-.")
    for colour in plot_style.LINES.values()
]  # fmt: skip
"""Where colours repeat, dashes differ."""
_WIDTH, _ROW = 13.0, 4.2
_MOST_NAMES = 20
_LONGEST_LABEL = 40


@dataclass(frozen=True)
class PlotAxis:
    """A column: where each run stands, None where it has no value, and the labels of the axis."""

    title: str
    places: Sequence[float | None]
    labels: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class PlottedCurves:
    """One metric of some runs: by run, x and y."""

    title: str
    x_title: str
    curves: Mapping[str, tuple[Floats, Floats]]


@dataclass(frozen=True)
class ComparisonPage:
    """`quarters`: 0 for the best quarter of the runs, None for a run without a result."""

    names: Sequence[str]
    curves: Sequence[PlottedCurves] = ()
    scatter: tuple[PlotAxis, PlotAxis] | None = None
    columns: Sequence[PlotAxis] = ()
    quarters: Sequence[int | None] = field(default=())


def draw(page: ComparisonPage) -> Figure:
    """A row of curves, then one of plots of columns; a row that has nothing is left out."""
    curves = page.curves[:2]
    plots = [page.scatter is not None, len(page.columns) > 1]
    rows = bool(curves) + any(plots)
    figure = Figure((_WIDTH, _ROW * max(rows, 1)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(max(rows, 1), 1)
    if curves:
        cells = grid[0].subgridspec(1, len(curves))
        for at, one in enumerate(curves):
            _draw_curves(figure.add_subplot(cells[at]), one, legend=at == 0)
    if any(plots):
        cells = grid[rows - 1].subgridspec(1, sum(plots), width_ratios=[2, 3][: sum(plots)])
        if page.scatter is not None:
            _draw_scatter(figure.add_subplot(cells[0]), page, *page.scatter)
        if plots[1]:
            _draw_parallel(figure.add_subplot(cells[sum(plots) - 1]), page)
    return figure


def _draw_curves(axes: Axes, one: PlottedCurves, *, legend: bool) -> None:
    for (name, (x, y)), (colour, dashes) in zip(one.curves.items(), cycle(_LINES), strict=False):
        axes.plot(x, y, color=colour, linestyle=dashes, linewidth=1.1, label=_label(name))
    axes.set_title(_label(one.title), loc="left")
    axes.set_xlabel(_label(one.x_title))
    _fit(axes, [y for _, y in one.curves.values()])
    if legend and len(one.curves) <= _MOST_NAMES:
        axes.legend(frameon=False, fontsize=7.5, ncols=2)


def _fit(axes: Axes, values: Sequence[Floats]) -> None:
    """A single spike does not flatten all curves."""
    every = np.concatenate(values) if values else np.empty(0)
    every = every[np.isfinite(every)]
    if len(every):
        low, high = float(every.min()), float(np.quantile(every, 0.995))
        margin = 0.05 * (high - low) or abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)


def _draw_scatter(axes: Axes, page: ComparisonPage, x: PlotAxis, y: PlotAxis) -> None:
    for name, across, up, quarter in zip(
        page.names, x.places, y.places, page.quarters, strict=True
    ):
        if across is not None and up is not None:
            axes.plot(across, up, "o", color=_colour(quarter), markersize=6)
            if len(page.names) <= _MOST_NAMES:
                axes.annotate(_label(name), (across, up), (5, 3), textcoords="offset points",
                              fontsize=7, color=plot_style.MUTED)  # fmt: skip
    axes.set_xticks([place for place, _ in x.labels], [_label(text) for _, text in x.labels])
    axes.set_yticks([place for place, _ in y.labels], [_label(text) for _, text in y.labels])
    axes.set_xlim(-0.05, 1.12)
    axes.set_ylim(-0.05, 1.05)
    axes.set_xlabel(_label(x.title))
    axes.set_title(_label(y.title), loc="left")


def _draw_parallel(axes: Axes, page: ComparisonPage) -> None:
    order = sorted(range(len(page.names)), key=lambda run: -_rank(page.quarters[run]))
    for run in order:
        places = [column.places[run] for column in page.columns]
        line = [np.nan if place is None else place for place in places]
        axes.plot(range(len(line)), line, color=_colour(page.quarters[run]), linewidth=1.2,
                  marker=".", alpha=0.8)  # fmt: skip
    for at, column in enumerate(page.columns):
        axes.axvline(at, color=plot_style.EDGE, linewidth=0.8)
        for place, text in column.labels:
            axes.annotate(_label(text), (at, place), (3, 0), textcoords="offset points",
                          fontsize=7, color=plot_style.MUTED, va="center")  # fmt: skip
    axes.set_xticks(
        range(len(page.columns)),
        [_label(column.title) for column in page.columns],
        rotation=20 if len(page.columns) > 5 else 0,
    )
    axes.set_yticks([])
    axes.grid(visible=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_xlim(-0.05, len(page.columns) - 0.6)


def _rank(quarter: int | None) -> int:
    return 4 if quarter is None else quarter


def _colour(quarter: int | None) -> str:
    return plot_style.MUTED if quarter is None else plot_style.LINES[QUARTERS[quarter]]


def _label(text: str) -> str:
    cut = printable(text)
    return cut if len(cut) <= _LONGEST_LABEL else cut[: _LONGEST_LABEL - 1] + "…"


if __name__ == "__main__":
    steps = np.arange(1, 50, dtype=float)
    lr = PlotAxis("lr", (0.0, 1.0), ((0.0, "1e-4"), (1.0, "1e-3")))
    best = PlotAxis("best val", (1.0, 0.0), ((0.0, "2.1"), (1.0, "3.2")))
    lines = PlottedCurves("loss", "step", {"a": (steps, 9 / steps), "b": (steps, 5 / steps)})
    made = draw(ComparisonPage(("a", "b"), (lines,), (lr, best), (lr, best), (3, 0)))
    print(len(made.axes), "axes")
    print("=== 自测通过 ===")
