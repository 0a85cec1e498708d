"""What it costs to draw a chart, and that this does not depend on how many points it has.

The chart is 100x30 with three series. Drawing it again after a new point makes the whole picture,
compares it with the one before and makes strips of the lines that changed; drawing it for the first
time, or at a new size, makes everything. Times are of the processor, which is what training loses.
The peer is plotext, which draws the same series decimated by us.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from rich.style import Style
from textual.geometry import Region

from benchmarks.measure import QUICK, medians, report
from lmm_tui.charts.canvas import FIRST_FREE_INK, Canvas
from lmm_tui.charts.plot import Plot
from lmm_tui.charts.traces import Trace
from lmm_tui.metrics.drawing.palette import SERIES_COLORS, shade
from lmm_tui.metrics.series.series import SeriesStore

TITLE = "redraw: one 100x30 chart of three series, 10k to 10M points, against plotext"

LIMIT_NEW_POINT, LIMIT_FRESH = 0.1, 0.2
"""Of plotext's time."""
LIMIT_GROWTH = 1.3
"""Of the cost with the fewest points."""
POINTS = (10_000, 1_000_000) if QUICK else (10_000, 1_000_000, 10_000_000)
ROUNDS = 100

_WIDTH, _HEIGHT = 100, 30
_REFERENCES = {"ln V": 6.9, "unigram": 5.5, "bigram": 3.6}
_METRICS = ("train/loss", "train/loss_ema", "val/loss")
_STYLES = [Style(color=shade(color, dark=True).line) for color in SERIES_COLORS] * 2


@dataclass
class _Live:
    """A chart of a run in progress."""

    points: int
    store: SeriesStore
    plot: Plot
    shown: Canvas
    drawn: int = 0

    def draw_new_point(self) -> None:
        step = len(self.store) + 1
        self.store.append({"step": step} | dict.fromkeys(_METRICS, 2.6 + step % 7 / 50))
        canvas = self._draw(1.25 * self.points)
        for part in canvas.changes(self.shown):
            canvas.strips(part, _STYLES)
        self.shown = canvas

    def draw_from_scratch(self) -> None:
        self.drawn += 1
        canvas = self._draw(1.25 * self.points + self.drawn)
        canvas.strips(Region(0, 0, _WIDTH, _HEIGHT), _STYLES)

    def _draw(self, x_end: float) -> Canvas:
        return self.plot.draw(self.store, _WIDTH, _HEIGHT, x_end, _REFERENCES)


def run() -> None:
    charts = {points: _open(points) for points in POINTS}
    plotext = _plotext_of(charts[1_000_000].store)
    calls: dict[str, Callable[[], None]] = {"plotext": plotext}
    for points, chart in charts.items():
        calls |= {f"{points:,}": chart.draw_new_point, f"{points:,} fresh": chart.draw_from_scratch}
    taken = medians({name: partial(_processor_ms, call) for name, call in calls.items()}, ROUNDS)
    for points in POINTS:
        for name, what, limit in (
            (f"{points:,}", "a new point", LIMIT_NEW_POINT),
            (f"{points:,} fresh", "from scratch", LIMIT_FRESH),
        ):
            report(f"{points:,} points, {what}", taken[name], taken["plotext"], "plotext",
                   unit="ms", at_most=limit)  # fmt: skip
    few, many = (f"{points:,}" for points in (POINTS[0], POINTS[-1]))
    report(f"growth to {many} points", taken[many], taken[few], few, unit="ms",
           at_most=LIMIT_GROWTH)  # fmt: skip


def _open(points: int) -> _Live:
    random = np.random.default_rng(0)
    steps = np.arange(1, points + 1)
    smooth = 2.6 + 4.4 * np.exp(-steps * 12 / points)
    noise = random.normal(0, 0.16, points)
    store = SeriesStore()
    values = (smooth + noise, smooth, smooth + 0.1 + noise / 8)
    store.extend(steps, {name: (None, part) for name, part in zip(_METRICS, values, strict=True)})
    traces = [
        Trace("train/loss", "train", "blue", "band"),
        Trace("train/loss_ema", "EMA", "blue", "line"),
        Trace("val/loss", "val", "orange", "line"),
    ]
    assert len(_STYLES) >= FIRST_FREE_INK + 2 * len(traces)
    plot = Plot("loss", traces)
    shown = plot.draw(store, _WIDTH, _HEIGHT, 1.25 * points, _REFERENCES)
    return _Live(points, store, plot, shown)


def _plotext_of(store: SeriesStore) -> Callable[[], None]:
    """The same three series through plotext: two points a dot column, as it draws lines itself."""
    import plotext
    from plotext._figure import _figure_class

    columns = 2 * (_WIDTH - 8)
    found = [series for name in _METRICS if (series := store.get(name))]
    ends = [series.bins(0, float(series.last_step or 1), columns) for series in found]
    at = np.repeat(np.arange(columns), 2).tolist()

    def draw() -> None:
        figure = _figure_class()
        figure._set_size(_WIDTH, _HEIGHT)
        for color, bins in zip(("blue", "cyan", "orange"), ends, strict=True):
            values = np.stack((bins.low, bins.high), axis=1).ravel().tolist()
            figure.plot(at, values, marker="braille", color=color)
        assert len(figure.build()) > _WIDTH

    assert plotext.__version__.startswith("5.")
    return draw


def _processor_ms(draw: Callable[[], None]) -> float:
    start = time.thread_time()
    draw()
    return 1e3 * (time.thread_time() - start)


if __name__ == "__main__":
    run()
