"""The title line of a plot: title, legend with values, and notes at the right end.

Where the line is short, the legend shrinks to the lines, then to the main trace, then to the title.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from lmm_tui.charts.canvas import LABEL, NAME, TITLE, Canvas
from lmm_tui.charts.traces import ShownTrace
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.number_format import metric_figure
from lmm_tui.metrics.names import describe
from lmm_tui.metrics.series.series import Point
from lmm_tui.metrics.series.smoothing import recent_mean
from lmm_tui.terminal.safe_text import clean

Note = tuple[str, int]
"""A text and its ink."""


@dataclass(frozen=True)
class PlotTitle:
    """Everything that the title line shows but its notes."""

    title: str
    unit: str
    traces: Sequence[ShownTrace]
    swatch: str
    """In front of each label, in the colour of its trace."""
    signs: Mapping[int, str]
    """What replaces the swatch, by number of the trace."""
    labelled: bool
    """Whether traces are named: a single one has the title for its name."""
    at_cursor: Mapping[int, Point | None] | None = None
    """Values to show instead of the last ones, by number of the trace."""

    def draw(self, canvas: Canvas, notes: Sequence[Note]) -> None:
        """Write the top row; the notes from the right, the first one outermost."""
        room = canvas.width - 1 - sum(cell_len(text) + 2 for text, _ in notes)
        x = 0
        for text, ink in self._legend(room):
            canvas.put(x, 0, text, ink)
            x += cell_len(text)
        summary = _summary(main_trace(self.traces), named=len(self.traces) > 1)
        if summary and self.at_cursor is None and x + 2 + cell_len(summary) <= room:
            notes = [*notes, (summary, LABEL)]
        end = canvas.width - 1
        for text, ink in notes:
            end -= cell_len(text)
            canvas.put(end, 0, text, ink)
            end -= 2

    def _legend(self, width: int) -> list[Note]:
        """The longest legend that fits: of all traces, of lines, of the main one, of none.

        The unit has to go before the last value.
        """
        lines, main = [each for each in self.traces if each.is_line], [main_trace(self.traces)]
        legend: list[Note] = []
        for chosen, with_unit in (
            (self.traces, True),
            (lines, True),
            (main, True),
            (main, False),
            ((), False),
        ):
            legend = [(tr(self.title), NAME)]
            if self.unit and with_unit:
                legend.append((f" ({tr(self.unit)})", LABEL))
            for each in chosen:
                legend += self._entry(each)
            if sum(cell_len(text) for text, _ in legend) <= width:
                break
        return legend

    def _entry(self, shown: ShownTrace) -> list[Note]:
        value = metric_figure(shown.series.name, self._value(shown))
        if not self.labelled:
            return [(f"  {value}", shown.line_ink)]
        ink = shown.line_ink if shown.is_line else shown.band_ink
        return [
            (f"  {self.signs.get(shown.number, self.swatch)} ", ink),
            (tr(clean(shown.trace.label)), LABEL),
            (f" {value}", TITLE),
        ]

    def _value(self, shown: ShownTrace) -> float:
        """At the cursor, else the last one; of a smoothed line the mean of the last values."""
        if point := (self.at_cursor or {}).get(shown.number):
            return point.value
        if shown.trace.kind == "smooth":
            return recent_mean(shown.series.values)
        return float(shown.series.values[-1])


def main_trace(traces: Sequence[ShownTrace]) -> ShownTrace:
    """The most important trace: validation before lines before bands; of several runs the best."""
    names = {each.series.name for each in traces}
    runs = {each.trace.metric for each in traces}
    if len(names) == 1 < len(runs) and (better := describe(names.pop()).better) != "neither":
        sign = 1 if better == "lower" else -1

        def best_of(shown: ShownTrace) -> float:
            best = shown.series.best(better)
            return math.inf if best is None else sign * best.value

        return min(traces, key=best_of)
    rank = {"marks": 0, "smooth": 1, "line": 1, "band": 2}
    return min(traces, key=lambda each: rank[each.trace.kind])


def _summary(shown: ShownTrace, *, named: bool) -> str:
    """The best value of a trace of rare values; the best of single noisy ones says nothing."""
    best = shown.series.best(describe(shown.series.name).better)
    if best is None or shown.trace.kind != "marks":
        return ""
    label = tr(clean(shown.trace.label)) if named else ""
    value = f"{label} {metric_figure(shown.series.name, best.value)}".lstrip()
    return tr("best {value} at step {step:,}", value=value, step=best.step)


if __name__ == "__main__":
    from lmm_tui.charts.braille import text_of
    from lmm_tui.charts.traces import Trace
    from lmm_tui.metrics.series.series import SeriesStore

    (store := SeriesStore()).append({"step": 1, "val/loss": 2.5})
    series, page = store.get("val/loss"), Canvas(40, 1)
    assert series is not None
    bins = series.bins(0, 1, 1)
    demo = ShownTrace(0, Trace("val/loss", "val", "orange", "marks"), series, bins, bins)
    PlotTitle("loss", "nats", [demo], "━", {}, labelled=True).draw(page, [])
    print(*text_of(page.codes))
    print("=== 自测通过 ===")
