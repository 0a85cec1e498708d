"""How a series gets onto axes: as few columns, without losing a spike or a NaN on the way.

Knows series and matplotlib axes; which series a panel wants is the panel's affair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnchoredOffsetbox, HPacker, TextArea
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from lmm_tui.metrics.plots import plot_style
from lmm_tui.metrics.series.growing_array import Floats
from lmm_tui.metrics.series.robust_range import robust_range
from lmm_tui.metrics.series.series import Series, SeriesStore

COLUMNS = 400
_MARKED_POINTS = 40
_ROUND = [1, 2, 2.5, 5, 10]

Entry = tuple[str, str]
"""A piece of a panel's heading: text and colour."""


@dataclass(frozen=True)
class StepWindow:
    """The steps that a page shows, and those at which the run was resumed."""

    first: float
    last: float
    resumed: tuple[int, ...] = ()

    @classmethod
    def of(cls, store: SeriesStore, resumed: Sequence[int] = ()) -> StepWindow:
        """All steps of a run, from 0 on unless its record starts late."""
        starts = [series.steps[0] for name in store.names() if (series := store.get(name))]
        first, last = float(min(starts, default=0)), float(store.last_step or 0)
        if first <= last * 0.05:
            first = 0.0
        first = min(first, last - 1)
        return cls(first, last, tuple(step for step in resumed if first < step < last))


@dataclass(frozen=True)
class Curve:
    """A series as it is drawn: some hundred columns, or its very points where they are few.

    low, high, mean: NaN where a column has no finite value. broken: (n, 2) where stretches of
    columns that hold a NaN or infinite value begin and end.
    """

    x: Floats
    low: Floats
    high: Floats
    mean: Floats
    broken: Floats

    @classmethod
    def of(cls, series: Series, window: StepWindow) -> Curve:
        if len(series) <= COLUMNS:
            steps, finite = series.steps.astype(np.float64), np.isfinite(series.values)
            values = np.where(finite, series.values, np.nan)
            width = float(np.diff(steps).min(initial=window.last - window.first))
            return cls(steps, values, values, values, _stretches(steps, ~finite, width))
        bins = series.bins(window.first, window.last, COLUMNS)
        width = (window.last - window.first) / COLUMNS
        x = np.linspace(window.first + width / 2, window.last - width / 2, COLUMNS)
        broken = bins.nonfinite > 0
        used = np.isfinite(bins.mean) | broken
        stretches = _stretches(x[used], broken[used], width)
        return cls(x[used], bins.low[used], bins.high[used], bins.mean[used], stretches)

    @property
    def is_band(self) -> bool:
        """Whether any column holds more than one value."""
        return bool((self.low < self.high).any())

    def mapped(self, rising: Callable[[Floats], Floats]) -> Curve:
        """The curve of a rising function of the values."""
        return Curve(self.x, rising(self.low), rising(self.high), rising(self.mean), self.broken)


def draw_raw(ax: Axes, curve: Curve, colour: str, *, behind: bool = False) -> None:
    """Raw values: a dim band from low to high, and their mean unless they stand `behind` a line."""
    if curve.is_band:
        # The thin edge keeps a spike of one column visible.
        ax.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.28, lw=0.6)
    if not behind:
        draw_line(ax, curve, colour, width=1.4)
    elif not curve.is_band:
        ax.plot(curve.x, curve.mean, color=colour, lw=0.9, alpha=0.4)


def draw_line(ax: Axes, curve: Curve, colour: str, width: float = 1.8) -> None:
    """One line, and a dot where it ends; every point is marked where there are few."""
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
    """Triangles on the edge that values lie beyond."""
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
    """Red from bottom to top, dim but for a tick at the bottom, where values are not finite."""
    bars = [(start, end - start) for start, end in curve.broken]
    whole = ax.get_xaxis_transform()
    ax.broken_barh(
        bars, (0, 1), transform=whole, color=plot_style.BROKEN, alpha=0.12, lw=0, zorder=1
    )
    ax.broken_barh(bars, (0, 0.045), transform=whole, color=plot_style.BROKEN, lw=0.8, zorder=6)


def fit_y(ax: Axes, curves: Sequence[Curve], floor: float | None = None) -> None:
    """A y range without outliers and a little wider than what it shows.

    `floor` is its bottom where all lie above.
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
    """The value that a series ends with, for the heading; red where it is not finite."""
    value = series.last_value
    assert value is not None
    return f"{label}{plot_style.number(value)}{unit}", colour if np.isfinite(
        value
    ) else plot_style.BROKEN


def broken_steps(*series: Series | None) -> list[Entry]:
    """How many steps of any of the series were not finite, for the heading."""
    bad = [one.steps[~np.isfinite(one.values)] for one in series if one is not None]
    steps = len(np.unique(np.concatenate(bad))) if bad else 0
    return [(f"NaN/Inf at {plot_style.count(steps)} steps", plot_style.BROKEN)] if steps else []


def finish(ax: Axes, window: StepWindow, title: str, entries: Sequence[Entry]) -> None:
    """Heading and axes: what all panels of curves have in common."""
    head(ax, title, entries)
    step_axis(ax, window)
    if ax.get_yscale() == "log":
        log_ticks(ax)
    else:
        inches = ax.get_position().height * _figure(ax).get_figheight()
        ax.yaxis.set_major_locator(MaxNLocator(max(round(3.2 * inches), 3), steps=_ROUND))
        ax.yaxis.set_major_formatter(plot_style.tick)


def step_axis(ax: Axes, window: StepWindow) -> None:
    """Steps on round ticks; a dotted line where the run was resumed."""
    room = 0.012 * (window.last - window.first)
    ax.set_xlim(window.first - room / 2, window.last + room)
    ax.set_xlabel("step", fontsize=8.5, labelpad=1.5)
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=_ROUND, integer=True))
    ax.xaxis.set_major_formatter(plot_style.tick)
    for step in window.resumed:
        ax.axvline(step, color=plot_style.MUTED, lw=0.8, ls=(0, (1, 2.5)), zorder=2)


def log_ticks(ax: Axes) -> None:
    """Ticks at 1, 2 and 5, or at powers of ten alone where these are many."""
    bottom, top = sorted(ax.get_ylim())
    decades = np.log10(top / bottom)
    subs = (1.0,) if decades > 4 else (1.0, 2.0, 5.0) if decades > 0.8 else (1, 1.5, 2, 3, 4, 5, 7)
    ax.yaxis.set_major_locator(LogLocator(subs=subs, numticks=8 if decades > 4 else 12))
    ax.yaxis.set_major_formatter(plot_style.tick)
    ax.yaxis.set_minor_locator(NullLocator())


def say(ax: Axes, title: str, sentence: str) -> None:
    """An empty panel that says why it is."""
    head(ax, title, [])
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


def head(ax: Axes, title: str, entries: Sequence[Entry]) -> None:
    """Title on the left, last values on the right, in the colours of their lines."""
    inches = _figure(ax).dpi_scale_trans
    raised = ax.transAxes + ScaledTranslation(0, 5 / 72, inches)
    ax.text(0, 1, title, transform=raised, fontsize=9.5, fontweight="bold")
    values: list[Artist] = [
        TextArea(text, textprops={"color": colour, "fontsize": 9.5}) for text, colour in entries
    ]
    box = AnchoredOffsetbox(
        "lower right",
        child=HPacker(children=values, pad=0, sep=9),
        frameon=False,
        pad=0,
        borderpad=0,
        bbox_to_anchor=(1, 1),
        # A box stands on its descenders, a text on its baseline.
        bbox_transform=raised + ScaledTranslation(0, -2.2 / 72, inches),
    )
    ax.add_artist(box).set_clip_on(False)


def _figure(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def _stretches(x: Floats, flags: NDArray[np.bool_], width: float) -> Floats:
    """Where runs of flagged columns, `width` wide each, begin and end."""
    turns = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(int)))
    starts, ends = x[turns[::2]], x[turns[1::2] - 1]
    return np.stack((starts - width / 2, ends + width / 2), axis=1)


if __name__ == "__main__":
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    store = SeriesStore()
    for at in range(1, 2001):
        value = 50.0 if at == 1500 else float("nan") if at == 700 else 8.0 / at**0.5
        store.append({"step": at, "loss": value})
    loss = store.get("loss")
    assert loss is not None
    shown = StepWindow.of(store)
    curve = Curve.of(loss, shown)
    print(len(curve.x), "columns, not finite in", curve.broken, "highest", np.nanmax(curve.high))
    axes = FigureCanvasAgg(Figure()).figure.add_subplot()
    draw_raw(axes, curve, plot_style.TRAIN)
    fit_y(axes, [curve])
    mark_outside(axes, curve, plot_style.TRAIN)
    finish(axes, shown, "loss", [last_value(loss, "", plot_style.TRAIN), *broken_steps(loss)])
    assert axes.get_ylim()[1] < 10 and np.nanmax(curve.high) == 50.0
    print("=== 自测通过 ===")
