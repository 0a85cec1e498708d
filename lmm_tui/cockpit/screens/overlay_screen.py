"""The curves of several runs over each other: a chart per metric, a colour per run.

Every run is read through a session of its own, a little at a time, so that keys never wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.content import Content

from lmm_tui.charts.ansi16 import has_few_colours
from lmm_tui.charts.chart import Chart, Kind, Trace
from lmm_tui.charts.plot import sign_of
from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.messages import OVERLAY
from lmm_tui.cockpit.screens.chart_gestures import ChartGestures
from lmm_tui.cockpit.screens.metric_groups import grid
from lmm_tui.cockpit.widgets.key_bar import ScreenKeys
from lmm_tui.cockpit.widgets.panel_grid import Page, PanelGrid
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs
from lmm_tui.cockpit.widgets.styled_line import StyledLine
from lmm_tui.engine.run.reader import Reader
from lmm_tui.errors import LmmError
from lmm_tui.metrics import names
from lmm_tui.metrics.drawing.palette import SERIES_COLORS, SeriesColor, shade
from lmm_tui.metrics.series.run_overlay import Overlay
from lmm_tui.metrics.series.series import Axis
from lmm_tui.runs.run_flops import flops_a_token
from lmm_tui.runs.run_list import labels_of
from lmm_tui.terminal.safe_text import clean

_METRICS = (
    names.TRAIN_LOSS,
    names.VAL_LOSS,
    names.LR,
    names.GRAD_NORM,
    names.TOKENS_PER_S,
    names.REWARD,
    "dpo/accuracy",
    "distill/kl",
)
"""What runs are compared by, where they have it."""

_ALIKE = 1.05
"""Tokens a step that differ by less are the same: the last batch of an epoch may be short."""
_READ_ON_AFTER_S = 0.005
_READ_AT_ONCE_S = 0.02
"""Of each run, while much of it is left to read."""


class RunLegend(StyledLine):
    """The names of the runs in their colours, or with the markers of their curves; cut to fit."""

    def __init__(self, runs: Sequence[tuple[str, SeriesColor]]) -> None:
        super().__init__()
        self._runs = runs

    def compose_line(self, width: int) -> Content:
        dark, colourless = self.app.current_theme.dark, self.app.no_color
        signed = len(self._runs) > len(SERIES_COLORS) or has_few_colours(self.app)
        parts = [
            Content.assemble(
                (
                    f" {sign_of(number) if signed else '━'} ",
                    shade(color, dark=dark, colourless=colourless).line,
                ),
                clean(name),
                " ",
            )
            for number, (name, color) in enumerate(self._runs)
        ]
        return Content.assemble(*parts).truncate(max(width, 1), ellipsis=True)


class OverlayScreen(ChartGestures):
    """The curves of the runs at `paths`, on steps, tokens, time since the start or FLOPs."""

    BINDINGS = bindings("overlay", "charts")
    AUTO_FOCUS = ""
    LOOK_EVERY_S = 1.0
    AXES: ClassVar[tuple[Axis, ...]] = ("step", "tokens", "time", "flops")
    DEFAULT_CSS = """
    OverlayScreen { layout: vertical; }
    OverlayScreen Chart { padding: 0 0 0 1; }
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__(name=OVERLAY)
        self._labels = {str(path): label for path, label in labels_of(paths).items()}
        self._sessions = {str(path): Reader(path) for path in paths}
        self._colors = dict(zip(self._sessions, cycle(SERIES_COLORS), strict=False))
        flops = {key: known for key, one in self._sessions.items() if (known := flops_a_token(one))}
        self._overlay = Overlay({key: one.series for key, one in self._sessions.items()}, flops)
        self._shown: tuple[str, ...] = ()
        self._axis: Axis | None = None

    def compose(self) -> ComposeResult:
        yield ScreenTabs("runs")
        yield RunLegend([(self._labels[key], color) for key, color in self._colors.items()])
        yield PanelGrid(page=Page("", ()))
        yield ScreenKeys("overlay", "charts")

    def on_resize(self) -> None:
        self.call_after_refresh(self._lay_out)

    def look(self) -> None:
        """Read what is new of every run, and draw it."""
        for session in self._sessions.values():
            try:
                session.poll(_READ_AT_ONCE_S)
            except LmmError:
                continue  # The run was deleted: what was read of it stays.
        shown = self._compared()
        if shown != self._shown:
            self._shown = shown
            self._make_charts()
            self._lay_out()
        self._choose_axis()
        for chart in self.query(Chart):
            chart.update_from(self._overlay)
        if any(session.loading for session in self._sessions.values()):
            self.set_timer(_READ_ON_AFTER_S, self.look)

    def _choose_axis(self) -> None:
        """Tokens at first where a step is not as many tokens in every run."""
        tokens = self._overlay.tokens_a_step()
        if self._axis is None and len(tokens) == len(self._sessions):
            alike = max(tokens.values()) < _ALIKE * min(tokens.values())
            self._axis = "step" if alike else "tokens"
            for chart in self.query(Chart):
                chart.update_from(self._overlay)
                chart.turn_to_axis(self._axis)

    def _compared(self) -> tuple[str, ...]:
        measured = self._overlay.names()
        return tuple(metric for metric in _METRICS if metric in measured)

    def action_close(self) -> None:
        if not self.drop_cursor():
            self.dismiss(None)

    def _make_charts(self) -> None:
        tiles = self.query_one(PanelGrid)
        for metric in self._shown:
            panel = f"metric-{_METRICS.index(metric)}"
            if not self.query(f"#{panel}"):
                tiles.mount(self._chart(metric, panel))

    def _chart(self, metric: str, panel: str) -> Chart:
        known = names.describe(metric)
        kind: Kind = "marks" if metric.startswith("val/") else "line"
        if metric == names.TRAIN_LOSS:
            kind = "smooth"
        traces = [
            Trace(Overlay.name(key, metric), self._labels[key], color, kind)
            for key, color in self._colors.items()
        ]
        chart = Chart(known.title, traces, log=known.log, id=panel)
        chart.can_focus = True
        return chart

    def _lay_out(self) -> None:
        tiles = self.query_one(PanelGrid)
        panels = [f"metric-{_METRICS.index(metric)}" for metric in self._shown]
        pages = grid("", panels, tiles.size)
        tiles.open_page(pages[0] if pages else Page("", ()))


if __name__ == "__main__":
    for metric in _METRICS:
        print(metric, names.describe(metric))
    print("=== 自测通过 ===")
