"""The probes of a run, or metrics of its stage: last value, last change and a sparkline each."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget

from lmm_tui.charts.sparkline import spark
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.number_format import change, figure
from lmm_tui.metrics.names import PROBE, PROBES, describe
from lmm_tui.metrics.series.series import Series, SeriesStore
from lmm_tui.terminal.safe_text import fit

PROBE_NAMES = tuple(PROBE + name for name in PROBES)
LINES = len(PROBES)

_NAME, _VALUE, _CHANGE = 20, 8, 8
_SHORT_NAME = 15
_SHORT_NAMES = {
    "cosine, within": mark("cosine within"),
    "cosine, between": mark("cosine between"),
    "participation ratio": mark("participation"),
}


class ProbePanel(Widget, can_focus=True):
    """A line for each series; its change is green if it is an improvement, else red."""

    DEFAULT_CSS = """
    ProbePanel { padding: 0 1; }
    """

    def __init__(self, names: Sequence[str] = PROBE_NAMES, id: str | None = None) -> None:
        """`names` of the series, at most `LINES`."""
        super().__init__(id=id)
        self._names = tuple(names)
        self._title = tr("probes" if self._names == PROBE_NAMES else "stage and probes")
        self.border_title = self._title
        self._empty = tr("p probes the live model, at any time.")
        self._store = SeriesStore()
        self._seen = (-1, -1)

    def expect(self, sentence: str) -> None:
        """Replace the sentence that is shown while there are no values."""
        if sentence != self._empty:
            self._empty = sentence
            self.refresh()

    def update_from(self, store: SeriesStore) -> None:
        """Show the latest values; nothing is painted if there are no newer ones."""
        self._store = store
        known = [series for name in self._names if (series := store.get(name))]
        seen = (max((s.last_step or 0 for s in known), default=-1), sum(map(len, known)))
        if seen == self._seen:
            return
        self._seen = seen
        if known:
            step = tr("step {step:,}", step=seen[0])
            self.border_title = f"{self._title} · {step}"
        self.refresh()

    def render(self) -> Content:
        if self._seen[0] < 0:
            return Content.styled(self._empty, "$foreground 60%")
        width = self.size.width
        return Content("\n").join(self._row(name, width) for name in self._names)

    def _row(self, name: str, width: int) -> Content:
        series = self._store.get(name)
        title = describe(name).title
        wide = width >= _NAME + _VALUE + _CHANGE + 8
        name_width = _NAME if wide else _SHORT_NAME
        label = fit(tr(title if wide else _SHORT_NAMES.get(title, title)), name_width)
        if series is None or not len(series):
            return Content.assemble((label, "$foreground 80%"), (f"{'–':>{_VALUE}}", ""))
        values = series.values
        delta = float(values[-1] - values[-2]) if len(values) > 1 else 0.0
        rest = width - name_width - _VALUE - _CHANGE - 2
        return Content.assemble(
            (label, "$foreground 80%"),
            (f"{figure(float(values[-1])):>{_VALUE}}", "bold"),
            (f"{change(delta) if len(values) > 1 else '':>{_CHANGE}}", _direction(series, delta)),
            "  ",
            (spark(values, rest) if rest > 0 else "", "$accent"),
        )


def _direction(series: Series, delta: float) -> str:
    better = describe(series.name).better
    if better == "neither" or not delta:
        return "$foreground 60%"
    return "$text-success" if (delta > 0) == (better == "higher") else "$text-error"


if __name__ == "__main__":
    panel = ProbePanel()
    panel._store = SeriesStore()
    for step in range(50, 1000, 50):
        panel._store.append({"step": step, "probe/entropy": 7 - step / 400})
    print(panel._row("probe/entropy", 60))
    print("=== 自测通过 ===")
