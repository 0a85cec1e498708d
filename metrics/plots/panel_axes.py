"""What the panels of a page have in common: curves, marks, y range, ticks and heading of axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.offsetbox import AnchoredOffsetbox, HPacker, TextArea
from matplotlib.transforms import ScaledTranslation

from lmm_tui.metrics.drawing.ticks import x_ticks, y_ticks
from lmm_tui.metrics.plots import plot_style
from lmm_tui.metrics.plots.axis_ticks import set_ticks
from lmm_tui.metrics.plots.plotted_curve import Curve, StepWindow
from lmm_tui.metrics.series.robust_range import robust_range
from lmm_tui.metrics.series.series import Series
from lmm_tui.metrics.values import is_cut_off

_MARKED_POINTS = 40
_HEADING = 9.5
_BETWEEN = 9
"""Points between the texts of a heading."""
_LINES_AN_INCH, _CHARACTERS_AN_INCH = 7, 14
"""Of the labels of ticks, whose places depend on how many have room."""
_LABEL_WIDTH = 8

Entry = tuple[str, str]
"""A piece of a panel's heading: text and colour."""


def draw_raw(ax: Axes, curve: Curve, colour: str, *, behind: bool = False) -> None:
    """Raw values: a dim band from low to high, and their mean unless they are `behind` a line."""
    if curve.is_band:
        # The thin edge keeps a spike of one column visible.
        ax.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.28, lw=0.6)
    if not behind:
        draw_line(ax, curve, colour, width=1.4)
    elif not curve.is_band:
        ax.plot(curve.x, curve.mean, color=colour, lw=0.9, alpha=0.4)


def draw_line(ax: Axes, curve: Curve, colour: str, width: float = 1.8) -> None:
    """One line with a dot at its end, or at every point if there are few."""
    few = len(curve.x) <= _MARKED_POINTS
    ends = None if few else [len(curve.x) - 1]
    ax.plot(
        curve.x,
        curve.mean,
        color=colour,
        lw=width,
        marker="o",
        markevery=ends,
        ms=3.8,
        mec="white",
        mew=0.6,
        zorder=4,
    )


def mark_outside(ax: Axes, curve: Curve, colour: str) -> None:
    """Triangles at the edge of the plot for values outside of its y range."""
    bottom, top = ax.get_ylim()
    for outside, edge, shape in ((curve.high > top, 1.0, "^"), (curve.low < bottom, 0.0, "v")):
        ax.plot(
            curve.x[outside],
            np.full(outside.sum(), edge),
            shape,
            color=colour,
            ms=5,
            mec="white",
            mew=0.5,
            transform=ax.get_xaxis_transform(),
            clip_on=False,
            zorder=6,
        )


def mark_broken(ax: Axes, curve: Curve) -> None:
    """Dim red columns, with a solid tick at the bottom, where values are not finite."""
    bars = [(start, end - start) for start, end in curve.broken]
    whole = ax.get_xaxis_transform()
    ax.broken_barh(
        bars, (0, 1), transform=whole, color=plot_style.BROKEN, alpha=0.12, lw=0, zorder=1
    )
    ax.broken_barh(bars, (0, 0.045), transform=whole, color=plot_style.BROKEN, lw=0.8, zorder=6)


def fit_y(ax: Axes, curves: Sequence[Curve], floor: float | None = None) -> None:
    """Set a y range without outliers, with a small margin.

    `floor` is its bottom if all values are above.
    """
    low = np.concatenate([curve.low for curve in curves])
    high = np.concatenate([curve.high for curve in curves])
    log = ax.get_yscale() == "log"
    if log:
        low, high = np.log10(low[low > 0]), np.log10(high[low > 0])
    found = robust_range(low, high)
    if found is None:
        return
    bottom, top = found
    room = 0.07 * (top - bottom) or max(abs(top) * 0.1, 1e-9)
    bottom = floor if floor is not None and bottom >= floor else bottom - room
    top += room
    ax.set_ylim(*((10**bottom, 10**top) if log else (bottom, top)))


def last_value(series: Series, label: str, colour: str, unit: str = "") -> Entry:
    """The last value of a series, for the heading; red if it is not finite."""
    value = series.last_value
    assert value is not None
    shown = colour if np.isfinite(value) else plot_style.BROKEN
    if series.name.endswith("/ppl") and is_cut_off(value):
        label += "> "
    return f"{label}{plot_style.number(value)}{unit}", shown


def broken_steps(*series: Series | None) -> list[Entry]:
    """How many steps have a non-finite value in any of the series, for the heading."""
    bad = [one.steps[~np.isfinite(one.values)] for one in series if one is not None]
    steps = len(np.unique(np.concatenate(bad))) if bad else 0
    return [(f"NaN/Inf at {plot_style.count(steps)} steps", plot_style.BROKEN)] if steps else []


def finish(ax: Axes, window: StepWindow, title: str, entries: Sequence[Entry]) -> None:
    """Heading, ticks and labels of a panel of curves."""
    draw_heading(ax, title, entries)
    step_axis(ax, window)
    value_axis(ax)


def step_axis(ax: Axes, window: StepWindow) -> None:
    """Set up the step axis: round ticks, and a dotted line where the run was resumed."""
    room = 0.012 * (window.last - window.first)
    ax.set_xlim(window.first - room / 2, window.last + room)
    ax.set_xlabel("step", fontsize=8.5, labelpad=1.5)
    width = round(_CHARACTERS_AN_INCH * ax.get_position().width * _figure(ax).get_figwidth())
    set_ticks(ax.xaxis, lambda low, high: x_ticks(low, high, width, "step"))
    for step in window.resumed:
        ax.axvline(step, color=plot_style.MUTED, lw=0.8, ls=(0, (1, 2.5)), zorder=2)


def value_axis(ax: Axes) -> None:
    """Round ticks on the axis of values."""
    height = round(_LINES_AN_INCH * ax.get_position().height * _figure(ax).get_figheight())
    log = ax.get_yscale() == "log"
    set_ticks(ax.yaxis, lambda low, high: y_ticks(low, high, height, _LABEL_WIDTH, log=log))


def draw_reason(ax: Axes, title: str, sentence: str) -> None:
    """An empty panel with the reason why it is empty."""
    draw_heading(ax, title, [])
    ax.set(xticks=[], yticks=[])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.set_facecolor("#f7f8fa")
    ax.text(
        0.5,
        0.5,
        sentence,
        transform=ax.transAxes,
        ha="center",
        va="center",
        color=plot_style.MUTED,
        wrap=True,
    )


def draw_heading(ax: Axes, title: str, entries: Sequence[Entry]) -> None:
    """Title on the left, last values on the right, in the colours of their lines."""
    inches = _figure(ax).dpi_scale_trans
    raised = ax.transAxes + ScaledTranslation(0, 5 / 72, inches)
    taken = sum(_width(ax, text) + _BETWEEN for text, _ in entries)
    whole = ax.get_position().width * _figure(ax).get_figwidth() * 72
    title = _shortened(ax, title, whole - taken - _BETWEEN)
    ax.text(0, 1, title, transform=raised, fontsize=_HEADING, fontweight="bold")
    values: list[Artist] = [
        TextArea(text, textprops={"color": colour, "fontsize": _HEADING})
        for text, colour in entries
    ]
    box = AnchoredOffsetbox(
        "lower right",
        child=HPacker(children=values, pad=0, sep=_BETWEEN),
        frameon=False,
        pad=0,
        borderpad=0,
        bbox_to_anchor=(1, 1),
        # The title is placed by its baseline, a box by its lower edge, which is below descenders.
        bbox_transform=raised + ScaledTranslation(0, -2.2 / 72, inches),
    )
    ax.add_artist(box).set_clip_on(False)


def _shortened(ax: Axes, title: str, room: float) -> str:
    """A title that fits in so many points, without its middle where it is longer."""
    width = _width(ax, title, bold=True)
    if width <= room:
        return title
    left = max(int(len(title) * room / width) - 2, 4)
    while left > 4 and _width(ax, _without_middle(title, left), bold=True) > room:
        left -= 1
    return _without_middle(title, left)


def _without_middle(title: str, left: int) -> str:
    return f"{title[: left - left // 2]}…{title[len(title) - left // 2 :]}"


def _width(ax: Axes, text: str, *, bold: bool = False) -> float:
    """Of a text in a heading, in points."""
    font = FontProperties(size=_HEADING, weight="bold" if bold else "normal")
    figure = _figure(ax)
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    pixels, _, _ = renderer.get_text_width_height_descent(text, font, False)
    return float(pixels) * 72 / figure.dpi


def _figure(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


if __name__ == "__main__":
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from lmm_tui.metrics.series.series import SeriesStore

    store = SeriesStore()
    store.append({"step": 1, "loss": 8.0})
    axes = FigureCanvasAgg(Figure()).figure.add_subplot()
    finish(axes, StepWindow.of(store), "loss", [])
    print("steps from, to", axes.get_xlim())
    print("=== 自测通过 ===")
