"""One plot drawn onto a canvas of cells: title line, traces, axes, marks for what is not shown.

It reads series from a store and knows neither runs nor widgets nor colours, only inks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Literal, TypeAlias

import numpy as np
from rich.cells import cell_len

from lmm_tui.charts.braille import BRAILLE, GlyphSet
from lmm_tui.charts.canvas import ALARM, AXIS, FIRST_FREE_INK, LABEL, NAME, TITLE, Canvas
from lmm_tui.charts.palette import SeriesColor
from lmm_tui.charts.plot_area import GUTTER, LARGEST, PlotArea, PlotWindow, cells_across
from lmm_tui.charts.ticks import count_label, round_decades, round_range, x_ticks, y_ticks
from lmm_tui.charts.viewport import SMOOTHING, Viewport, Whole
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.number_format import figure
from lmm_tui.metrics.names import describe
from lmm_tui.metrics.series.growing_array import Floats
from lmm_tui.metrics.series.robust_range import robust_range
from lmm_tui.metrics.series.series import Axis, Bins, Point, Series, SeriesStore, Store
from lmm_tui.terminal.safe_text import clean

MIN_WIDTH, MIN_HEIGHT = 20, 5
"""The smallest whole plot; below there is only a title."""

Kind: TypeAlias = Literal["band", "line", "marks"]

WHOLE = Viewport()

_SIGNS = "o+*#@%&$" + ascii_uppercase


def sign_of(trace: int) -> str:
    """What tells the line with this number from others where colours do not."""
    return _SIGNS[trace % len(_SIGNS)]


_NEAR = 0.35
"""How far beyond the data, in its spread, a reference may lie to be worth showing."""


def line_ink(trace: int) -> int:
    """The ink of what is bright in the trace with this number."""
    return FIRST_FREE_INK + 2 * trace


def band_ink(trace: int) -> int:
    """The ink of what is quiet in it."""
    return line_ink(trace) + 1


@dataclass(frozen=True)
class Trace:
    """How a metric is drawn.

    All fill from the lowest to the highest value of each column, quietly: no spike is lost. A
    `band` is only that; a `line` follows the mean on it; `marks` are a line with its points, for
    a metric that is measured now and then.
    """

    metric: str
    label: str
    color: SeriesColor
    kind: Kind


@dataclass(frozen=True)
class Mark:
    """Something that happened at a step."""

    step: int
    severe: bool


@dataclass(frozen=True)
class _Shown:
    """A trace that has values, and what the plot shows of them."""

    trace: Trace
    line_ink: int
    band_ink: int
    series: Series
    bins: Bins
    scaled: Bins
    """The bins as they stand on the y axis: log10 on a log plot."""


class Plot:
    """Draws the same traces again and again, with a y range that changes rarely."""

    def __init__(
        self,
        title: str,
        traces: Sequence[Trace],
        *,
        log: bool = False,
        glyphs: GlyphSet = BRAILLE,
    ) -> None:
        self.title = clean(title)
        self.signed = False
        """Whether lines carry signs, which the legend explains: for screens without colours."""
        self.traces = tuple(traces)
        self._log = log
        self.glyphs = glyphs
        self._y_range: tuple[float, float] | None = None
        self._view = WHOLE
        self._frame_of: tuple[int, int, Axis, PlotWindow] | None = None
        self._frame_drawn = Canvas(0, 0)

    @property
    def log(self) -> bool:
        """Whether the y axis is logarithmic."""
        return self._log

    @log.setter
    def log(self, log: bool) -> None:
        self._log, self._y_range, self._frame_of = log, None, None

    def draw(
        self,
        store: Store,
        width: int,
        height: int,
        x_end: float | None = None,
        references: Mapping[str, float] | None = None,
        view: Viewport = WHOLE,
        cursor: float | None = None,
        marks: Sequence[Mark] = (),
    ) -> Canvas:
        """The plot on a canvas of this size; all of its x axis goes up to `x_end` at least.

        `cursor` is a place on the x axis of the view: the title then has the values there.
        """
        measured = any(store.get(trace.metric) for trace in self.traces)
        if not measured or width < MIN_WIDTH or height < MIN_HEIGHT:
            return self._draw_title_only(width, height, measured)
        if view != self._view:
            self._view, self._y_range = view, None
        x0, x1 = view.span(Whole.of(store, view.axis, x_end))
        shown = self._look(store, x0, x1, cells_across(width) * self.glyphs.columns)
        levels = {clean(label): self._scale(value) for label, value in (references or {}).items()}
        window = PlotWindow(x0, x1, *self._settle(shown, levels.values()))
        canvas = self._frame(store, width, height, window)
        area = PlotArea(canvas, self.glyphs, window)
        for one in shown:
            area.band(one.scaled, one.band_ink)
        for level in levels.values():
            area.reference(level)
        for one in shown:
            if one.trace.kind != "band":
                smooth = SMOOTHING[view.smoothing] if one.trace.kind == "line" else 0.0
                values = smoothed(one.scaled.mean, smooth)
                area.line(values, one.line_ink, marks=one.trace.kind == "marks")
        signs = self._signs(shown)
        for place, one in enumerate(one for one in shown if one.line_ink in signs):
            area.sign(one.scaled.mean, signs[one.line_ink], one.line_ink, place, len(signs))
        for label, level in levels.items():
            area.reference_label(label, level)
        area.mark_times(
            (store.translate(mark.step, "step", view.axis), mark.severe) for mark in marks
        )
        above, below = area.mark_cut({one.line_ink: one.scaled for one in shown})
        nonfinite = area.mark_nonfinite({one.trace.metric: one.bins for one in shown}.values())
        notes = [
            (f"{nonfinite} NaN/Inf" if nonfinite else "", ALARM),
            (f"{self.glyphs.below}{below}" if below else "", LABEL),
            (f"{self.glyphs.above}{above}" if above else "", LABEL),
            (self._view_in_words(), TITLE),
        ]
        notes = [note for note in notes if note[0]]
        if cursor is not None and x0 <= cursor <= x1:
            area.cursor(cursor)
            nearest = {one.trace.metric: one.series.nearest(cursor, view.axis) for one in shown}
            step = round(store.translate(cursor, view.axis, "step"))
            self._draw_title(
                canvas, shown, [*notes, (tr("at {step:,}", step=step), TITLE)], nearest
            )
        else:
            self._draw_title(canvas, shown, notes)
        return canvas

    def _signs(self, shown: Sequence[_Shown]) -> dict[int, str]:
        """The signs of lines, by their ink, where there can be more than one to tell apart."""
        if not self.signed or sum(trace.kind != "band" for trace in self.traces) < 2:
            return {}
        lines = [one for one in shown if one.trace.kind != "band"]
        return {one.line_ink: sign_of(self.traces.index(one.trace)) for one in lines}

    def _view_in_words(self) -> str:
        """What is unusual about the view."""
        words = [
            tr(self._view.axis) if self._view.axis != "step" else "",
            tr("smooth {level}", level=self._view.smoothing) if self._view.smoothing else "",
            tr("follow") if self._view.follows else tr("zoom") if self._view.window else "",
        ]
        return " ".join(filter(None, words))

    def _look(self, store: Store, x0: float, x1: float, columns: int) -> list[_Shown]:
        shown = []
        for number, trace in enumerate(self.traces):
            series = store.get(trace.metric)
            if series:
                bins = series.bins(x0, x1, columns, self._view.axis)
                inks = line_ink(number), band_ink(number)
                shown.append(_Shown(trace, *inks, series, bins, self._scale_bins(bins)))
        return shown

    def _scale(self, value: float) -> float:
        if not self.log:
            return value
        return math.log10(value) if value > 0 else -math.inf

    def _scale_bins(self, bins: Bins) -> Bins:
        if not self.log:
            return bins
        with np.errstate(divide="ignore"):
            low, high, mean = (
                np.log10(np.maximum(part, 0.0)) for part in (bins.low, bins.high, bins.mean)
            )
        return Bins(low, high, mean, bins.nonfinite)

    def _settle(self, shown: Iterable[_Shown], levels: Iterable[float]) -> tuple[float, float]:
        """The y range: that of the picture before, where it still fits."""
        ranges = [
            found for one in shown if (found := robust_range(one.scaled.low, one.scaled.high))
        ]
        if not ranges:
            return (0.0, 1.0)
        low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
        reach = _NEAR * (high - low)
        for level in levels:
            if low - reach <= level <= high + reach:
                low, high = min(low, level), max(high, level)
        limit = math.log10(LARGEST) if self.log else LARGEST
        low, high = (min(max(end, -limit), limit) for end in (low, high))
        old = self._y_range
        if old and old[0] <= low and high <= old[1] and high - low >= 0.6 * (old[1] - old[0]):
            return old
        self._y_range = round_decades(low, high) if self.log else round_range(low, high)
        return self._y_range

    def _frame(self, store: Store, width: int, height: int, window: PlotWindow) -> Canvas:
        """The axes on an otherwise empty canvas."""
        key = width, height, self._view.axis, window
        if self._frame_of != key:
            start = store.span("time")[0] if self._view.axis == "time" else 0.0
            self._frame_of, self._frame_drawn = key, self._draw_frame(width, height, window, start)
        return self._frame_drawn.copy()

    def _draw_frame(self, width: int, height: int, window: PlotWindow, start: float) -> Canvas:
        canvas = Canvas(width, height)
        area = PlotArea(canvas, self.glyphs, window)
        left, bottom = GUTTER - 1, height - 2
        canvas.put_down(left, 1, self.glyphs.vertical * area.down, AXIS)
        y0, y1 = (10**window.y0, 10**window.y1) if self.log else (window.y0, window.y1)
        for value, label in y_ticks(y0, y1, area.down, left, log=self.log):
            y = area.cell_y(self._scale(value))
            canvas.put(left - len(label), y, label, LABEL)
            canvas.put(left, y, self.glyphs.tick_y, AXIS)
        canvas.put(left, bottom, self.glyphs.corner + self.glyphs.horizontal * area.across, AXIS)
        axis = self._view.axis
        for value, label in x_ticks(window.x0 - start, window.x1 - start, area.across, axis):
            x = area.cell_x(value + start)
            canvas.put(x, bottom, self.glyphs.tick_x, AXIS)
            at = min(max(x - len(label) // 2, left), width - len(label))
            canvas.put(at, bottom + 1, label, LABEL)
        return canvas

    def _draw_title_only(self, width: int, height: int, measured: bool) -> Canvas:
        canvas = Canvas(width, height)
        canvas.put(0, 0, tr(self.title), NAME)
        if not measured and height > 1:
            text = tr("no values yet")
            canvas.put(max((width - cell_len(text)) // 2, 0), height // 2, text, LABEL)
        return canvas

    def _draw_title(
        self,
        canvas: Canvas,
        shown: Sequence[_Shown],
        notes: Sequence[tuple[str, int]],
        nearest: Mapping[str, Point | None] | None = None,
    ) -> None:
        """The title, what each trace is and was last, and at the right what is noteworthy.

        With `nearest`, its values instead of the last ones.
        """
        room = canvas.width - 1 - sum(cell_len(text) + 2 for text, _ in notes)
        x = 0
        for text, ink in self._legend(shown, room, nearest or {}):
            canvas.put(x, 0, text, ink)
            x += cell_len(text)
        standing = _standing(_chief(shown), several=len(shown) > 1)
        end = canvas.width - 1
        if standing and nearest is None and x + 2 + cell_len(standing) <= room:
            notes = [*notes, (standing, LABEL)]
        for text, ink in notes:
            end -= cell_len(text)
            canvas.put(end, 0, text, ink)
            end -= 2

    def _legend(
        self, shown: Sequence[_Shown], width: int, nearest: Mapping[str, Point | None]
    ) -> list[tuple[str, int]]:
        """Title, with label and last value: of all traces, of lines, of the chief one, of none."""
        lines = [one for one in shown if one.trace.kind != "band"]
        signs = self._signs(shown)
        legend: list[tuple[str, int]] = []
        for chosen in (shown, lines, [_chief(shown)], ()):
            legend = [(tr(self.title), NAME)]
            for one in chosen:
                ink = one.band_ink if one.trace.kind == "band" else one.line_ink
                point = nearest.get(one.trace.metric)
                value = figure(point.value if point else float(one.series.values[-1]))
                if len(self.traces) == 1:
                    legend.append((f"  {value}", one.line_ink))
                else:
                    legend += [
                        (f"  {signs.get(ink, self.glyphs.swatch)} ", ink),
                        (tr(clean(one.trace.label)), LABEL),
                        (f" {value}", TITLE),
                    ]
            if sum(cell_len(text) for text, _ in legend) <= width:
                break
        return legend


def smoothed(values: Floats, weight: float) -> Floats:
    """The exponential average over columns that have a value, NaN where there is none.

    It starts unbiased, as TensorBoard's does: the weights of what was seen add up to 1.
    """
    known = np.isfinite(values)
    if not weight or not known.any():
        return values
    decay = weight ** np.arange(len(values))
    total = np.convolve(np.where(known, values, 0.0), decay)[: len(values)]
    weights = np.convolve(known, decay)[: len(values)]
    return np.where(known, total / np.maximum(weights, 1e-300), np.nan)


def _chief(shown: Sequence[_Shown]) -> _Shown:
    """The trace that counts where there is room for one: what is held out, else the first line.

    Of several runs it is the best.
    """
    names = {one.series.name for one in shown}
    if len(names) == 1 < len(shown) and (better := describe(names.pop()).better) != "neither":
        sign = 1 if better == "lower" else -1

        def reached(one: _Shown) -> float:
            best = one.series.best(better)
            return math.inf if best is None else sign * best.value

        return min(shown, key=reached)
    rank = {"marks": 0, "line": 1, "band": 2}
    return min(shown, key=lambda one: rank[one.trace.kind])


def _standing(one: _Shown, *, several: bool) -> str:
    """How a trace does: its best value, or how it moved over a tenth of the run."""
    whose = tr(clean(one.trace.label)) if several else ""
    best = one.series.best(describe(one.series.name).better)
    if best is not None:
        value = f"{whose} {figure(best.value)}".lstrip()
        return tr("best {value} @{step:,}", value=value, step=best.step)
    means = one.bins.mean[np.isfinite(one.bins.mean)]
    part = len(means) // 10
    if part == 0:
        return ""
    before, now = means[-2 * part : -part].mean(), means[-part:].mean()
    if now == before or not abs(now - before) >= 1e-3 * abs(before):
        return ""
    sign = "+" if now > before else ""
    first, last = one.series.span("step")
    steps = count_label(round((last - first) * part / len(means)))
    moved = sign + figure(now - before)
    if whose:
        return tr("{whose} {change} in {steps}", whose=whose, change=moved, steps=steps)
    return tr("{change} in {steps}", change=moved, steps=steps)


if __name__ == "__main__":
    from lmm_tui.charts.braille import text_of

    rng = np.random.default_rng(0)
    steps = np.arange(1, 3001)
    smooth = 2.5 + 4.4 * np.exp(-steps / 500)
    demo = SeriesStore()
    demo.extend(
        steps,
        {
            "train/loss": (None, smooth + rng.normal(0, 0.15, 3000)),
            "train/loss_ema": (None, smooth),
            "val/loss": (np.arange(99, 3000, 300), smooth[99::300] + 0.1),
        },
    )
    demo.append({"step": 3001, "train/loss": "NaN"})
    plot = Plot(
        "loss",
        [
            Trace("train/loss", "raw", "blue", "band"),
            Trace("train/loss_ema", "EMA", "blue", "line"),
            Trace("val/loss", "val", "orange", "marks"),
        ],
    )
    page = plot.draw(demo, 80, 16, references={"ln V": 6.93})
    print("\n".join(text_of(page.codes)))
    assert "ln V" in "".join(text_of(page.codes))
    print("=== 自测通过 ===")
