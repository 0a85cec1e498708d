"""One plot drawn onto a canvas of cells: title line, axes, traces, marks for what is cut off.

`Plot.draw` bins the series of a store to the columns there are, settles the y range, copies the
axes (drawn once for each window) and puts the data on them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from rich.cells import cell_len

from lmm_tui.charts.braille import BRAILLE, GlyphSet
from lmm_tui.charts.canvas import ALARM, AXIS, LABEL, NAME, TITLE, Canvas
from lmm_tui.charts.plot_area import GUTTER, LARGEST, PlotArea, PlotWindow, cells_across
from lmm_tui.charts.plot_title import Note, PlotTitle
from lmm_tui.charts.traces import Mark, ShownTrace, Trace, sign_of
from lmm_tui.charts.viewport import SMOOTHING, Viewport, Whole
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.number_format import count, duration
from lmm_tui.metrics import names
from lmm_tui.metrics.drawing.ticks import round_decades, round_range, x_ticks, y_ticks
from lmm_tui.metrics.series.growing_array import Floats
from lmm_tui.metrics.series.robust_range import robust_range
from lmm_tui.metrics.series.series import Axis, Bins, SeriesStore, Store
from lmm_tui.metrics.series.smoothing import centred_mean, on_band
from lmm_tui.terminal.safe_text import clean, fit

MIN_WIDTH, MIN_HEIGHT = 20, 5
"""The smallest plot; anything smaller is only a title."""

ALL = Viewport()

_AXIS_NAMES: dict[Axis, str] = {
    "step": mark("step"),
    "tokens": mark("tok"),
    "time": mark("time"),
    "epoch": mark("epoch"),
    "flops": "FLOPs",
}
"""Short enough for the corner of the axes."""

_NEAR = 0.35
"""How far outside the data, in units of its range, a reference line is still shown."""

_LEAST_FILL = 0.6
"""The y range shrinks once the data covers less of it than this."""


class Plot:
    """The same traces drawn again and again, with a y range that changes rarely."""

    def __init__(
        self,
        title: str,
        traces: Sequence[Trace],
        *,
        log: bool = False,
        unit: str = "",
        glyphs: GlyphSet = BRAILLE,
    ) -> None:
        self.title = clean(title)
        self._unit = unit
        self.signed = False
        """Whether lines carry signs, which the legend explains: for screens without colours."""
        self.traces = tuple(traces)
        self._log = log
        self.glyphs = glyphs
        self._y_range: tuple[float, float] | None = None
        self._view = ALL
        self._axes_of: tuple[int, int, Axis, PlotWindow] | None = None
        self._axes_drawn = Canvas(0, 0)

    @property
    def log(self) -> bool:
        """Whether the y axis is logarithmic."""
        return self._log

    @log.setter
    def log(self, log: bool) -> None:
        self._log, self._y_range, self._axes_of = log, None, None

    def draw(
        self,
        store: Store,
        width: int,
        height: int,
        x_end: float | None = None,
        references: Mapping[str, float] | None = None,
        view: Viewport = ALL,
        cursor: float | None = None,
        marks: Sequence[Mark] = (),
    ) -> Canvas:
        """The plot on a canvas of this size; the whole x axis extends to `x_end` at least.

        `cursor` is a position on the x axis of the view; the title then shows the values there.
        """
        measured = any(store.get(trace.metric) for trace in self.traces)
        if not measured or width < MIN_WIDTH or height < MIN_HEIGHT:
            return self._draw_title_only(width, height, measured)
        if view != self._view:
            self._view, self._y_range = view, None
        x0, x1 = view.span(Whole.of(store, view.axis, x_end))
        shown = self._bin(store, x0, x1, cells_across(width) * self.glyphs.columns)
        levels = {clean(label): self._scale(value) for label, value in (references or {}).items()}
        window = PlotWindow(x0, x1, *self._settle_y_range(shown, levels.values()))
        canvas = self._axes(store, width, height, window)
        area = PlotArea(canvas, self.glyphs, window)
        signs = self._signs(shown)
        self._draw_data(area, shown, levels, signs)
        area.mark_times(
            (store.translate(each.step, "step", view.axis), each.severe) for each in marks
        )
        notes = self._mark_cut(area, shown)
        at_cursor = None
        if cursor is not None and x0 <= cursor <= x1:
            area.cursor(cursor)
            at_cursor = {one.number: one.series.nearest(cursor, view.axis) for one in shown}
            notes.append((_place(store, cursor, view.axis), TITLE))
            notes += self._marks_at(area, store, cursor, marks)
        labelled = len(self.traces) > 1
        title = PlotTitle(
            self.title, self._unit, shown, self.glyphs.swatch, signs, labelled, at_cursor
        )
        title.draw(canvas, notes)
        return canvas

    def _bin(self, store: Store, x0: float, x1: float, columns: int) -> list[ShownTrace]:
        """Traces with values, as low, high and mean of each dot column."""
        shown = []
        for number, trace in enumerate(self.traces):
            if series := store.get(trace.metric):
                bins = series.bins(x0, x1, columns, self._view.axis)
                shown.append(ShownTrace(number, trace, series, bins, self._scale_bins(bins)))
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

    def _settle_y_range(
        self, shown: Iterable[ShownTrace], levels: Iterable[float]
    ) -> tuple[float, float]:
        """The y range: the one before while it fits, so that what is drawn stays in place."""
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
        if (
            old
            and old[0] <= low
            and high <= old[1]
            and high - low >= _LEAST_FILL * (old[1] - old[0])
        ):
            return old
        self._y_range = round_decades(low, high) if self.log else round_range(low, high)
        return self._y_range

    def _axes(self, store: Store, width: int, height: int, window: PlotWindow) -> Canvas:
        """A canvas with the axes on it and nothing else."""
        key = width, height, self._view.axis, window
        if self._axes_of != key:
            start = store.span("time")[0] if self._view.axis == "time" else 0.0
            self._axes_of, self._axes_drawn = key, self._draw_axes(width, height, window, start)
        return self._axes_drawn.copy()

    def _y_ticks(self, y0: float, y1: float, down: int, left: int) -> list[tuple[float, str]]:
        """A metric that is told in per cent has its axis in per cent."""
        found = y_ticks(y0, y1, down, left, log=self.log)
        if any(trace.metric != names.CLIP_RATE for trace in self.traces):
            return found
        return [(value, f"{value:.0%}") for value, _ in found if 0 <= value <= 1]

    def _draw_axes(self, width: int, height: int, window: PlotWindow, start: float) -> Canvas:
        canvas = Canvas(width, height)
        area = PlotArea(canvas, self.glyphs, window)
        left, bottom = GUTTER - 1, height - 2
        canvas.put_down(left, 1, self.glyphs.vertical * area.down, AXIS)
        y0, y1 = (10**window.y0, 10**window.y1) if self.log else (window.y0, window.y1)
        for value, label in self._y_ticks(y0, y1, area.down, left):
            y = area.cell_y(self._scale(value))
            canvas.put(left - len(label), y, label, LABEL)
            canvas.put(left, y, self.glyphs.tick_y, AXIS)
        canvas.put(left, bottom, self.glyphs.corner + self.glyphs.horizontal * area.across, AXIS)
        axis = self._view.axis
        canvas.put(0, bottom + 1, fit(tr(_AXIS_NAMES[axis]), left - 1), LABEL)
        for value, label in x_ticks(window.x0 - start, window.x1 - start, area.across, axis):
            x = area.cell_x(value + start)
            canvas.put(x, bottom, self.glyphs.tick_x, AXIS)
            at = min(max(x - len(label) // 2, left), width - len(label))
            canvas.put(at, bottom + 1, label, LABEL)
        return canvas

    def _draw_data(
        self,
        area: PlotArea,
        shown: Sequence[ShownTrace],
        levels: Mapping[str, float],
        signs: Mapping[int, str],
    ) -> None:
        """From back to front: bands, reference lines, lines with their signs, labels."""
        for one in shown:
            if one.trace.kind != "smooth":
                area.band(one.scaled, one.band_ink)
        for level in levels.values():
            area.reference(level)
        lines = [one for one in shown if one.is_line]
        for one in lines:
            area.line(self._line(one), one.line_ink, marks=one.trace.kind == "marks")
        if signs:
            for place, one in enumerate(lines):
                area.sign(self._line(one), signs[one.number], one.line_ink, place, len(lines))
        for label, level in levels.items():
            area.reference_label(label, level)

    def _marks_at(
        self, area: PlotArea, store: Store, cursor: float, marks: Sequence[Mark]
    ) -> list[Note]:
        """What happened in the column of the cursor."""
        axis, column = self._view.axis, area.cell_x(cursor)
        for each in marks:
            if area.cell_x(store.translate(each.step, "step", axis)) == column and each.text:
                return [(clean(each.text), ALARM if each.severe else TITLE)]
        return []

    def _line(self, shown: ShownTrace) -> Floats:
        """The line of a trace, smoothed as its kind and the view have it."""
        bins, share = shown.scaled, SMOOTHING[self._view.smoothing]
        if shown.trace.kind == "marks":
            return bins.mean
        if shown.trace.kind == "smooth" and not share:
            return on_band(centred_mean(bins.mean), bins.low, bins.high)
        return centred_mean(bins.mean, share)

    def _signs(self, shown: Sequence[ShownTrace]) -> dict[int, str]:
        """The signs of lines by number, where there can be several to tell apart."""
        if not self.signed or sum(trace.kind != "band" for trace in self.traces) < 2:
            return {}
        return {one.number: sign_of(one.number) for one in shown if one.is_line}

    def _mark_cut(self, area: PlotArea, shown: Sequence[ShownTrace]) -> list[Note]:
        """Mark values that are non-finite or outside the y range; notes on them and the view."""
        above, below = area.mark_cut({one.line_ink: one.scaled for one in shown})
        nonfinite = area.mark_nonfinite({one.trace.metric: one.bins for one in shown}.values())
        notes = [
            (f"{nonfinite} NaN/Inf" if nonfinite else "", ALARM),
            (f"{self.glyphs.below}{below}" if below else "", LABEL),
            (f"{self.glyphs.above}{above}" if above else "", LABEL),
            (self._view_note(), TITLE),
        ]
        return [note for note in notes if note[0]]

    def _view_note(self) -> str:
        """How the view differs from the whole run over steps."""
        view = self._view
        parts = [
            tr("x: {axis}", axis=tr(view.axis)) if view.axis != "step" else "",
            tr("smoothing {share:.0%}", share=SMOOTHING[view.smoothing]) if view.smoothing else "",
            tr("follow") if view.follows else tr("zoom") if view.window else "",
        ]
        return " · ".join(filter(None, parts))

    def _draw_title_only(self, width: int, height: int, measured: bool) -> Canvas:
        canvas = Canvas(width, height)
        canvas.put(0, 0, tr(self.title), NAME)
        if not measured and height > 1:
            text = tr("no values yet")
            canvas.put(max((width - cell_len(text)) // 2, 0), height // 2, text, LABEL)
        return canvas


def _place(store: Store, cursor: float, axis: Axis) -> str:
    """Where the cursor is: its step, and how far that is on another axis, as `step 82 · 336k`."""
    step = tr("step {step:,}", step=round(store.translate(cursor, axis, "step")))
    if axis == "step":
        return step
    if axis == "tokens":
        return f"{step} · {tr('{count} tokens', count=count(cursor))}"
    if axis == "epoch":
        return f"{step} · {tr('epoch')} {cursor:.3g}"
    if axis == "flops":
        return f"{step} · {cursor:.3g} FLOPs"
    return f"{step} · {duration(cursor - store.span('time')[0])}"


if __name__ == "__main__":
    from lmm_tui.charts.braille import text_of

    demo = SeriesStore()
    for step in range(1, 3001):
        demo.append({"step": step, "train/loss": 2.5 + 4.4 * 0.998**step})
    plot = Plot("loss", [Trace("train/loss", "train", "blue", "line")])
    print("\n".join(text_of(plot.draw(demo, 80, 16, references={"ln V": 6.93}).codes)))
    print("=== 自测通过 ===")
