"""One plot drawn onto a canvas of cells: title line, traces, axes, marks for what is not shown.

It reads series from a store and knows neither runs nor widgets nor colours, only inks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from rich.cells import cell_len

from lmm_tui.palette import SeriesColor
from lmm_tui.text import clean
from lmm_tui.units import figure
from lmm_tui.widgets.braille import (
    BRAILLE,
    Dots,
    GlyphSet,
    Patterns,
    cell_patterns,
    line_spans,
    span_dots,
)
from lmm_tui.widgets.canvas import (
    ALARM,
    AXIS,
    FIRST_FREE_INK,
    LABEL,
    REFERENCE,
    TITLE,
    Canvas,
)
from lmm_tui.widgets.ticks import (
    count_label,
    round_decades,
    round_end,
    round_range,
    x_ticks,
    y_ticks,
)
from metrics.column import Floats
from metrics.names import describe
from metrics.series import Axis, Bins, Series, SeriesStore, robust_range

GUTTER = 7
"""Cells left of the plot: labels of up to six, and the axis. Alike everywhere, so plots align."""

MIN_WIDTH, MIN_HEIGHT = 20, 5

_LARGEST = 1e300
"""The end of any y axis: differences of larger numbers are no floats any more."""

_MARK_SPACING = 10
"""Dot columns a mark needs for itself; points that are denser are a line without marks."""


def _across(width: int) -> int:
    """The cells of a row that show data; one stays free at the right."""
    return width - GUTTER - 1


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
    kind: Literal["band", "line", "marks"]


@dataclass(frozen=True)
class _Window:
    """What part of the data the plot area shows; y is log10 of the values on a log plot."""

    x0: float
    x1: float
    y0: float
    y1: float


class Plot:
    """Draws the same traces again and again, with a y range that changes rarely."""

    def __init__(
        self,
        title: str,
        traces: Sequence[Trace],
        *,
        log: bool = False,
        axis: Axis = "step",
        glyphs: GlyphSet = BRAILLE,
    ) -> None:
        self.title = clean(title)
        self.traces = tuple(traces)
        self.log = log
        self.axis: Axis = axis
        self.glyphs = glyphs
        self._y_range: tuple[float, float] | None = None
        self._frame_of: tuple[int, int, _Window] | None = None
        self._frame_drawn = Canvas(0, 0)

    def draw(
        self,
        store: SeriesStore,
        width: int,
        height: int,
        x_end: float | None = None,
        references: Mapping[str, float] | None = None,
    ) -> Canvas:
        """The plot on a canvas of this size; from 20 x 5 on it is whole, below just a title."""
        canvas = Canvas(width, height)
        found = [
            (number, trace, series)
            for number, trace in enumerate(self.traces)
            if (series := store.get(trace.metric))
        ]
        if width < MIN_WIDTH or height < MIN_HEIGHT or not found:
            canvas.put(0, 0, self.title, TITLE)
            if not found and height > 1:
                text = "no values yet"
                canvas.put(max((width - len(text)) // 2, 0), height // 2, text, LABEL)
            return canvas
        x0, x1 = self._x_range([series for _, _, series in found], x_end)
        columns = _across(width) * self.glyphs.columns
        binned = {series.name: series.bins(x0, x1, columns, self.axis) for _, _, series in found}
        shown = {name: self._scaled(bins) for name, bins in binned.items()}
        levels = {clean(label): self._scale(value) for label, value in (references or {}).items()}
        traces = [(number, trace, shown[trace.metric]) for number, trace, _ in found]
        window = _Window(x0, x1, *self._settle(shown.values(), levels.values()))
        canvas = self._frame(width, height, window)
        area = _Area(canvas, self.glyphs, window)
        for number, _, bins in traces:
            area.band(bins.low, bins.high, band_ink(number))
        for level in levels.values():
            area.reference(level)
        for number, trace, bins in traces:
            if trace.kind != "band":
                area.line(bins.mean, line_ink(number), marks=trace.kind == "marks")
        for label, level in levels.items():
            area.reference_label(label, level)
        peaks = area.cut({line_ink(number): bins for number, _, bins in traces})
        nonfinite = area.nonfinite(binned.values())
        self._draw_title(canvas, found, binned[found[-1][2].name], peaks, nonfinite)
        return canvas

    def _x_range(self, series: Sequence[Series], x_end: float | None) -> tuple[float, float]:
        spans = [one.span(self.axis) for one in series]
        start = min(first for first, _ in spans) if self.axis == "time" else 0.0
        last = max(last for _, last in spans)
        end = start + round_end(last - start) if x_end is None else max(x_end, last)
        return start, max(end, start + 1)

    def _scale(self, value: float) -> float:
        if not self.log:
            return value
        return math.log10(value) if value > 0 else -math.inf

    def _scaled(self, bins: Bins) -> Bins:
        if not self.log:
            return bins
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high, mean = (
                np.log10(np.where(part <= 0, 0.0, part))
                for part in (bins.low, bins.high, bins.mean)
            )
        return Bins(low, high, mean, bins.nonfinite)

    def _settle(self, shown: Iterable[Bins], levels: Iterable[float]) -> tuple[float, float]:
        """The y range: that of the frame before, where it still fits."""
        ranges = [found for bins in shown if (found := robust_range(bins.low, bins.high))]
        if not ranges:
            return (0.0, 1.0)
        low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
        reach = 0.35 * (high - low)
        for level in levels:
            if low - reach <= level <= high + reach:
                low, high = min(low, level), max(high, level)
        limit = math.log10(_LARGEST) if self.log else _LARGEST
        low, high = (min(max(end, -limit), limit) for end in (low, high))
        old = self._y_range
        if old and old[0] <= low and high <= old[1] and high - low >= 0.6 * (old[1] - old[0]):
            return old
        self._y_range = round_decades(low, high) if self.log else round_range(low, high)
        return self._y_range

    def _frame(self, width: int, height: int, window: _Window) -> Canvas:
        """The axes on an otherwise empty canvas."""
        key = width, height, window
        if self._frame_of != key:
            self._frame_of, self._frame_drawn = key, self._draw_frame(width, height, window)
        return self._frame_drawn.copy()

    def _draw_frame(self, width: int, height: int, window: _Window) -> Canvas:
        canvas = Canvas(width, height)
        area = _Area(canvas, self.glyphs, window)
        axis, bottom = GUTTER - 1, height - 2
        for y in range(1, bottom):
            canvas.put(axis, y, self.glyphs.vertical, AXIS)
        y0, y1 = (10**window.y0, 10**window.y1) if self.log else (window.y0, window.y1)
        for value, label in y_ticks(y0, y1, area.down, axis, log=self.log):
            y = 1 + int(area.row(self._scale(value))) // self.glyphs.rows
            canvas.put(axis - len(label), y, label, LABEL)
            canvas.put(axis, y, self.glyphs.tick_y, AXIS)
        canvas.put(axis, bottom, self.glyphs.corner + self.glyphs.horizontal * area.across, AXIS)
        start = window.x0 if self.axis == "time" else 0.0
        for value, label in x_ticks(window.x0 - start, window.x1 - start, area.across, self.axis):
            x = area.cell(value + start)
            canvas.put(x, bottom, self.glyphs.tick_x, AXIS)
            at = min(max(x - len(label) // 2, axis), width - len(label))
            canvas.put(at, bottom + 1, label, LABEL)
        return canvas

    def _draw_title(
        self,
        canvas: Canvas,
        found: Sequence[tuple[int, Trace, Series]],
        last_bins: Bins,
        peaks: int,
        nonfinite: int,
    ) -> None:
        """The title, what each trace is and was last, and at the right what is noteworthy."""
        right: list[tuple[str, int]] = []
        if nonfinite:
            right.append((f"{nonfinite} NaN/Inf", ALARM))
        if peaks:
            right.append((f"{self.glyphs.above}{peaks}", LABEL))
        room = canvas.width - 1 - sum(len(text) + 2 for text, _ in right)
        x = 0
        for text, ink in self._legend(found, room):
            canvas.put(x, 0, text, ink)
            x += cell_len(text)
        standing = _standing(found[-1], last_bins, several=len(found) > 1)
        if standing and x + 2 + len(standing) <= room:
            right.append((standing, LABEL))
        end = canvas.width - 1
        for text, ink in right:
            end -= len(text)
            canvas.put(end, 0, text, ink)
            end -= 2

    def _legend(
        self, found: Sequence[tuple[int, Trace, Series]], width: int
    ) -> list[tuple[str, int]]:
        """Title, with label and last value of all traces, of lines, of the last one, or of none."""
        lines = [item for item in found if item[1].kind != "band"]
        legend: list[tuple[str, int]] = []
        for chosen in (found, lines, found[-1:], ()):
            legend = [(self.title, TITLE)]
            for number, trace, series in chosen:
                ink = band_ink(number) if trace.kind == "band" else line_ink(number)
                value = figure(series.last_value or 0.0)
                if len(self.traces) == 1:
                    legend.append((f"  {value}", ink))
                else:
                    legend += [
                        (f"  {self.glyphs.swatch} ", ink),
                        (clean(trace.label), LABEL),
                        (f" {value}", TITLE),
                    ]
            if sum(cell_len(text) for text, _ in legend) <= width:
                break
        return legend


class _Area:
    """The part of a canvas that shows data."""

    def __init__(self, canvas: Canvas, glyphs: GlyphSet, window: _Window) -> None:
        self.window = window
        self.across, self.down = _across(canvas.width), canvas.height - 3
        self._canvas, self._glyphs = canvas, glyphs
        self._x, self._y = GUTTER, 1
        self._rows = self.down * glyphs.rows
        self._bands: Patterns = np.zeros((self.down, self.across), np.uint8)
        self._lines = self._bands.copy()

    def row(self, value: Floats | float) -> Floats:
        """The dot row of values, not rounded; what is outside lands just outside."""
        window = self.window
        within = np.clip(value, -2 * _LARGEST, 2 * _LARGEST)
        with np.errstate(over="ignore"):
            share = (window.y1 - within) / (window.y1 - window.y0)
        return np.clip(share * (self._rows - 1), -2, self._rows + 1)

    def cell(self, x: float) -> int:
        """The cell column of an x in the window."""
        window = self.window
        share = (x - window.x0) / (window.x1 - window.x0)
        return self._x + min(int(share * self.across), self.across - 1)

    def band(self, low: Floats, high: Floats, ink: int) -> None:
        known = np.isfinite(low) | np.isfinite(high)
        top = np.where(known, np.rint(self.row(np.where(known, high, 0))), 1).astype(np.int64)
        bottom = np.where(known, np.rint(self.row(np.where(known, low, 0))), 0).astype(np.int64)
        patterns = cell_patterns(span_dots(top, bottom, self._rows), self._glyphs)
        self._bands |= patterns
        self._stamp(self._bands, patterns > 0)
        self._tint(patterns > 0, ink)

    def line(self, values: Floats, ink: int, *, marks: bool) -> None:
        row = self.row(values)
        top, bottom = line_spans(row)
        if marks:
            known = np.flatnonzero(np.isfinite(row))
            if len(known) and (len(known) - 1) * _MARK_SPACING <= known[-1] - known[0]:
                at = np.rint(row[known]).astype(np.int64)
                for column in (known, np.minimum(known + 1, len(row) - 1)):
                    top[column] = at - 1
                    bottom[column] = at + 1
        patterns = cell_patterns(span_dots(top, bottom, self._rows), self._glyphs)
        shown = patterns > 0
        # Lines that run through the same cell share it and take turns with its colour.
        mine = shown & ((self._lines == 0) | (np.arange(self.across) // 2 % 2 == 0))
        self._lines |= patterns
        self._stamp(self._lines, shown)
        self._tint(mine, ink)

    def reference(self, level: float) -> None:
        row = self.row(level)
        if not 0 <= row <= self._rows - 1:
            return
        cell, dot = divmod(round(float(row)), self._glyphs.rows)
        dots = np.zeros((self._glyphs.rows, self.across * self._glyphs.columns), bool)
        dots[dot, :: 3 if self._glyphs.columns > 1 else 2] = True
        patterns = cell_patterns(dots, self._glyphs)
        codes, shown = self._glyphs.codes[patterns], patterns > 0
        self._canvas.stamp(self._x, self._y + cell, codes, shown)
        self._canvas.tint(self._x, self._y + cell, shown, REFERENCE)

    def reference_label(self, label: str, level: float) -> None:
        row = self.row(level)
        size = cell_len(label)
        if not 0 <= row <= self._rows - 1 or size + 2 > self.across:
            return
        y = round(float(row)) // self._glyphs.rows
        for start in (self.across - size - 1, 1):
            place = self._lines[y, start : start + size]
            if not place.any():
                place[:] = 1
                self._canvas.put(self._x + start, self._y + y, label, REFERENCE)
                return

    def cut(self, traces: Mapping[int, Bins]) -> int:
        """Mark where values, by ink, are above the window; returns how many peaks that are."""
        any_cut = np.zeros(self.across, bool)
        for ink, bins in traces.items():
            cells = self._cells(bins.high > self.window.y1)
            for x in np.flatnonzero(cells).tolist():
                self._canvas.put(self._x + x, self._y, self._glyphs.above, ink)
            any_cut |= cells
        return int(np.count_nonzero(any_cut & ~np.append(False, any_cut[:-1])))

    def nonfinite(self, binned: Iterable[Bins]) -> int:
        """Mark on the x axis where values are not finite; returns how many they are."""
        counts = np.sum([bins.nonfinite for bins in binned], axis=0)
        for x in np.flatnonzero(self._cells(counts > 0)).tolist():
            self._canvas.put(self._x + x, self._y + self.down, self._glyphs.nonfinite, ALARM)
        return int(counts.sum())

    def _cells(self, flags: Dots) -> Dots:
        return flags.reshape(-1, self._glyphs.columns).max(axis=1)

    def _stamp(self, patterns: Patterns, shown: Dots) -> None:
        self._canvas.stamp(self._x, self._y, self._glyphs.codes[patterns], shown)

    def _tint(self, shown: Dots, ink: int) -> None:
        self._canvas.tint(self._x, self._y, shown, ink)


def _standing(last: tuple[int, Trace, Series], bins: Bins, *, several: bool) -> str:
    """How the last trace does: its best value, or how it moved over a tenth of the run."""
    _, trace, series = last
    best = series.best(describe(series.name).better)
    if best is not None:
        whose = f"{clean(trace.label)} " if several else ""
        return f"best {whose}{figure(best.value)} @{best.step:,}"
    means = bins.mean[np.isfinite(bins.mean)]
    part = len(means) // 10
    if part == 0:
        return ""
    before, now = means[-2 * part : -part].mean(), means[-part:].mean()
    if abs(now - before) < 1e-3 * abs(before):
        return ""
    sign = "+" if now > before else ""
    steps = round((series.last_step or 0) * part / len(means))
    return f"{sign}{figure(now - before)} in {count_label(steps)}"


if __name__ == "__main__":
    from lmm_tui.widgets.braille import text_of

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
