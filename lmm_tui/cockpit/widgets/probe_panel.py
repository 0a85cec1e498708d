"""The probes of a run, or metrics of its stage: last value, last change and a sparkline each."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
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
_FEW = 3
FEW_LINES = 2 * _FEW - 1
"""Three probes with a blank line between them, for panels with no room for all."""

_NAME, _VALUE, _CHANGE = 26, 8, 8
_SHORT_NAME = 15
_SHORT_NAMES = {
    "cosine sim., same sequence": mark("cosine same"),
    "cosine sim., across sequences": mark("cosine across"),
    "effective rank (participation ratio)": mark("effective rank"),
    "top-1 − top-2 margin": mark("top-1 margin"),
    "top-10 probability": mark("top-10 prob."),
    "p(correct token)": mark("p(correct)"),
}
_HELP = {
    "entropy": mark("uncertainty of the next token; falls while the model learns"),
    "top1_acc": mark("share of tokens whose first guess is right"),
    "top5_acc": mark("share of tokens that are among the first five guesses"),
    "confidence_gap": mark("probability of the first guess above the second"),
    "topk_mass": mark("probability of the ten likeliest tokens together"),
    "p_true_mean": mark("mean probability of the token that follows"),
    "cosine_sim_intra": mark("likeness of states in one text; near 1: collapsed"),
    "cosine_sim_inter": mark("likeness of states across texts; near 1: collapsed"),
    "participation_ratio": mark("dimensions that the states use; a fall is a collapse"),
}
"""What a number means, where the panel has the focus."""


class ProbePanel(Widget, can_focus=True):
    """A line for each series, or the first three with a gap where there is no room for all.

    A change is green if it is an improvement, else yellow: every probe gets worse now and then.
    """

    DEFAULT_CSS = """
    ProbePanel { padding: 0 1; }
    """

    def __init__(self, names: Sequence[str] = PROBE_NAMES, id: str | None = None) -> None:
        """`names` of the series, at most `LINES`."""
        super().__init__(id=id)
        self._names = tuple(names)
        self._title = tr("probes" if set(self._names) == set(PROBE_NAMES) else "stage and probes")
        self.border_title = self._title
        self._empty = tr("Press p to probe.")
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
        if self.size.height >= len(self._names):
            return Content("\n").join(self._row(name, width) for name in self._names)
        between = "\n\n" if self.size.height >= FEW_LINES else "\n"
        shown = self._names[:_FEW]
        if not self.has_focus:
            return Content(between).join(self._row(name, width) for name in shown)
        lines = [line for name in shown for line in (self._row(name, width), _help(name, width))]
        return Content("\n").join(lines[:FEW_LINES] if self._last_help_is_in_the_frame else lines)

    @property
    def _last_help_is_in_the_frame(self) -> bool:
        return self.size.height <= FEW_LINES < len(self._names)

    def on_focus(self) -> None:
        if self._last_help_is_in_the_frame:
            self.border_subtitle = _help_of(self._names[_FEW - 1])

    def on_blur(self) -> None:
        self.border_subtitle = ""

    def _row(self, name: str, width: int) -> Content:
        series = self._store.get(name)
        title = describe(name).title
        wide = width >= _NAME + _VALUE + _CHANGE + 8
        name_width = _NAME if wide else _SHORT_NAME
        label = tr(title)
        if cell_len(label) > name_width:
            label = tr(_SHORT_NAMES.get(title, title))
        label = fit(label, name_width)
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
            (spark(values, rest, fill=True) if rest > 0 else "", "$accent"),
        )


def _help_of(name: str) -> str:
    text = _HELP.get(name.removeprefix(PROBE))
    return tr(text) if text else ""


def _help(name: str, width: int) -> Content:
    return Content.styled(f"  {fit(_help_of(name), width - 2).rstrip()}", "$foreground 60%")


def _direction(series: Series, delta: float) -> str:
    better = describe(series.name).better
    if better == "neither" or not delta:
        return "$foreground 60%"
    return "$text-success" if (delta > 0) == (better == "higher") else "$text-warning"


if __name__ == "__main__":
    panel = ProbePanel()
    panel._store = SeriesStore()
    for step in range(50, 1000, 50):
        panel._store.append({"step": step, "probe/entropy": 7 - step / 400})
    print(panel._row("probe/entropy", 60))
    print("=== 自测通过 ===")
