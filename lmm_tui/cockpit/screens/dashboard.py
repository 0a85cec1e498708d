"""The dashboard of one run: polls a Reader, shows it, and sends commands from keys.

This file shows the run; `metric_pages` decides which charts are on the screen, `run_commands` and
`export_view` do what keys ask for, `dashboard_panels` says what each chart shows.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult

from lmm_tui.charts.chart import Chart
from lmm_tui.charts.heatmap import HeatMap
from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.messages import TerminalNotice
from lmm_tui.cockpit.pinned_metrics import NOTHING, PinnedMetrics
from lmm_tui.cockpit.screens import run_notices
from lmm_tui.cockpit.screens.base_screen import RUN_EVERY_S
from lmm_tui.cockpit.screens.dashboard_pages import DashboardPages, layer_prefix
from lmm_tui.cockpit.screens.dashboard_panels import (
    LAYER_NORMS,
    make_charts,
    marks_of,
    numbers_of,
    panels_without_data,
    references_for,
)
from lmm_tui.cockpit.screens.export_view import ViewExport
from lmm_tui.cockpit.screens.metric_charts import MetricCharts
from lmm_tui.cockpit.screens.metric_pages import MetricPages
from lmm_tui.cockpit.screens.next_actions import NextActions
from lmm_tui.cockpit.screens.redraw_pacing import RedrawPacing, look_period
from lmm_tui.cockpit.widgets.event_list import EventList
from lmm_tui.cockpit.widgets.filter_input import FilterInput
from lmm_tui.cockpit.widgets.health_panel import HealthPanel
from lmm_tui.cockpit.widgets.key_bar import KeyBar
from lmm_tui.cockpit.widgets.next_line import NextLine
from lmm_tui.cockpit.widgets.notice import Notice
from lmm_tui.cockpit.widgets.page_tabs import PageTabs
from lmm_tui.cockpit.widgets.panel_grid import PanelGrid
from lmm_tui.cockpit.widgets.probe_panel import ProbePanel
from lmm_tui.cockpit.widgets.run_header import RunHeader
from lmm_tui.cockpit.widgets.samples_panel import SamplesPanel
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs
from lmm_tui.cockpit.widgets.vital_numbers import VitalNumbers
from lmm_tui.engine.run.events import RunEvent
from lmm_tui.engine.run.reader import LOG_FILE, Reader
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.metrics import names
from lmm_tui.metrics.drawing.ticks import round_end
from lmm_tui.runs.away_summary import LastSeen, away_summary

if TYPE_CHECKING:
    from lmm_tui.metrics.health.verdict import Verdict
    from lmm_tui.runs.run_health import RunHealth

_READ_FIRST_S, _READ_AT_ONCE_S = 0.015, 0.05
"""The longest that reading a big file may keep the keys waiting."""
_JUDGE_AT_ONCE_S = 0.005
_READ_ON_AFTER_S = 0.005


class DashboardScreen(MetricPages, ViewExport, NextActions):
    """Everything there is to see of a run; `owned` means that it trains in this process."""

    BINDINGS = bindings("dashboard", "charts")
    AUTO_FOCUS = ""

    def __init__(
        self,
        session: Reader,
        *,
        owned: bool,
        shelf: PinnedMetrics = NOTHING,
        seen: LastSeen | None = None,
    ) -> None:
        super().__init__(session)
        self.owned = owned
        self._stage = session.view.info.about_stage
        names.learn(self._stage.metrics)
        self._book = DashboardPages(shelf)
        self._pacing = RedrawPacing()
        self._health: RunHealth | None = None
        self._judging = False
        self._announced = len(session.events)
        self._verdict: Verdict | None = None
        self._seen = seen
        self._since = ""
        """What happened while nobody looked."""

    def compose(self) -> ComposeResult:
        yield ScreenTabs("dashboard")
        yield RunHeader()
        yield NextLine()
        yield Notice()
        vitals = VitalNumbers(self._stage)
        vitals.fit_to(self.app.size)
        yield vitals
        yield PageTabs()
        grid = PanelGrid(
            *make_charts(self._stage, smoothed=not self.session.foreign),
            ProbePanel(numbers_of(self._stage), id="probes"),
            SamplesPanel(id="samples"),
            HealthPanel(id="health"),
            EventList(id="events"),
            page=self._book.page,
            id="panels",
        )
        self._metric_charts = MetricCharts(self._book, grid)
        yield grid
        yield FilterInput(tr("part of a metric's name; enter keeps the filter, esc clears it"))
        yield KeyBar()

    def on_mount(self) -> None:
        self.session.poll(_READ_FIRST_S)
        self._announced = len(self.session.events)
        self._first_probe = run_notices.first_probe(self.session.run_dir)
        self.show()
        self._set_interval()
        self.behind_dialogs(RUN_EVERY_S, lambda: self.tell(self.query_one(RunHeader)))
        # The rest is read and loaded once there is something to see.
        self.call_after_refresh(self._after_first_paint)

    def _after_first_paint(self) -> None:
        self._read_on()
        from lmm_tui.runs.run_health import RunHealth

        self._health = RunHealth(self.session)
        self._judge(self._health)

    # Reading

    def look(self) -> None:
        """Read what is new and show what changed; charts only as often as pacing allows."""
        was_loading = self.session.loading
        changed = self.session.poll(_READ_AT_ONCE_S)
        if changed or self.session.view.state in ("stale", LOG_FILE):
            self._show_status()
            self._set_interval()
        self._pacing.stale |= changed
        loaded = was_loading and not self.session.loading
        if self._pacing.stale and (loaded or self._pacing.due(beside_training=self._trains_here)):
            self.draw_charts()
        self._read_on()

    @property
    def _trains_here(self) -> bool:
        return self.owned and self.session.view.active

    def _set_interval(self) -> None:
        view = self.session.view
        self.look_every(
            look_period(active=view.active or view.growing, beside_training=self._trains_here)
        )

    def _read_on(self) -> None:
        """While much is left to read, don't wait for the next look."""
        if self.session.loading:
            self.set_timer(_READ_ON_AFTER_S, self.look)

    def all_events(self) -> list[RunEvent]:
        """What was left out of a log of another program is an event of it."""
        notes = [RunEvent(None, "log", note, "warning", time=0.0) for note in self.session.notes]
        return [*notes, *super().all_events()]

    def measured(self) -> list[str]:
        return self.session.series.names()

    # Showing

    def show(self) -> None:
        self._show_status()
        self.draw_charts()

    def _show_status(self) -> None:
        """Update everything but the charts, which is cheap enough for every look."""
        session, view = self.session, self.session.view
        self._show_run(self.query_one(RunHeader))
        self.query_one(VitalNumbers).show(session.series)
        ended = "" if view.active else tr("Nothing was recorded in this run.")
        probes, samples = self.query_one(ProbePanel), self.query_one(SamplesPanel)
        probes.expect(ended or self._first_probe)
        probes.update_from(session.series)
        samples.expect(ended or tr("No samples yet. Press p to generate."))
        samples.show(session.samples)
        if self._health is not None:
            self._judge(self._health)
        self.query_one(EventList).show(self.all_events())
        self._show_notice()
        self._offer()
        self.show_pages()
        self._announce()

    def _show_run(self, header: RunHeader) -> None:
        header.show(
            self.session.view,
            pending=self.pending,
            unreadable=self.session.unreadable_lines,
            loading=self.session.loading,
        )
        if self._verdict is not None:
            header.show_verdict(self._verdict)

    def tell(self, header: RunHeader) -> None:
        """Read what is new of the run while another screen covers this one, and show it there."""
        self.session.poll(_READ_AT_ONCE_S)
        if self._health is not None and not self.session.loading:
            self._verdict = self._health.look(_JUDGE_AT_ONCE_S).verdict
        self._show_run(header)

    def on_screen_resume(self) -> None:
        self._pacing.stale = True  # Another screen may have read what was new.
        super().on_screen_resume()
        self._show_status()

    def on_resize(self, event: events.Resize) -> None:
        self.query_one(VitalNumbers).fit_to(event.size)
        super().on_resize(event)

    def draw_charts(self) -> None:
        self._pacing.start_drawing()
        session, view = self.session, self.session.view
        x_end = _x_end(session.series.last_step or 0, view.status.total_steps)
        marks = marks_of(session.events)
        for chart in self.query(Chart):
            levels = references_for(chart, view.info.references)
            if levels != chart.references:
                chart.references = levels
            # Once, where they explain something, not on every chart.
            chart.marks = marks if chart.id == "first" else ()
            chart.update_from(session.series, x_end)
        measured = session.series.names()
        for heat_map in self.query(HeatMap):
            if not heat_map.display:
                continue  # Of thousands of layers; opening its page draws it.
            prefix = layer_prefix(str(heat_map.id)) or LAYER_NORMS
            layers = [name for name in measured if name.startswith(prefix)]
            heat_map.update_from(session.series, layers, x_end)

    def show_pages(self) -> None:
        view, book = self.session.view, self._book
        if self.session.foreign:
            book.absent = panels_without_data(self.measured(), self.all_events())
        self.lay_out()
        self.query_one(KeyBar).show(
            active=view.active,
            paused=view.state == "paused",
            zoomed=self.zoomed,
            pages=len(book.pages),
        )
        titles = tuple(tr(page.title) for page in book.pages)
        self.query_one(PageTabs).show(titles, book.index)

    def _show_notice(self) -> None:
        view, notice = self.session.view, self.query_one(Notice)
        if self._seen is not None and not self.session.loading:
            self._since, self._seen = away_summary(self.session, self._seen, time.time()), None
        if self.session.away:
            notice.say(
                translate_message(self.session.away),
                tr("Showing the last data read; updates resume when the folder is back."),
            )
        elif problem := run_notices.problem(self.session):
            notice.say(*problem)
        elif view.active and not len(self.session.series):
            notice.say(*run_notices.next_step(view), calm=True)
        elif self._since:
            notice.say(f"{self._since}  ·  {tr('esc closes')}", "", calm=True)
        else:
            notice.say("", "")

    def _offer(self) -> None:
        """Offer what to do next."""
        red = self.query_one(RunHeader).has_class("-trouble")
        self.query_one(NextLine).show(self.next_steps(self._verdict), trouble=red)

    def _announce(self) -> None:
        """Tell of alerts, a target that was reached and the end while the screen is open."""
        for event in self.session.events[self._announced :]:
            kind, text = event.kind, event.message
            severe = event.level in ("warning", "error")
            if kind == "target" or (kind == "alert" and severe):
                self.toast(text, kind, severe=severe)
            if kind in ("target", "end") or (kind == "alert" and severe):
                self._notify_terminal(kind, f"{self.session.view.info.name}: {_said(kind, text)}")
        self._announced = len(self.session.events)

    def _notify_terminal(self, kind: str, text: str) -> None:
        """As `notify` of the run has it; never of a log or a script of someone's own."""
        if not self.session.foreign and kind in run_notices.announced(self.session.run_dir):
            self.app.post_message(TerminalNotice(text))

    def action_restore(self) -> None:
        if self._since:
            self._since = ""
            self._show_notice()
        else:
            super().action_restore()

    def _judge(self, health: RunHealth) -> None:
        """Apply the health rules to new rows; a long history is worked off in slices."""
        if self.session.loading:
            return  # There is something to see sooner without.
        seen = health.look(_JUDGE_AT_ONCE_S)
        if len(self.session.series):
            self.query_one(HealthPanel).show(seen.verdict, seen.alerts)
            self._verdict = seen.verdict
            self.query_one(RunHeader).show_verdict(seen.verdict)
        self._offer()
        if not seen.complete and not self._judging:
            self._judging = True
            self.set_timer(_JUDGE_AT_ONCE_S, partial(self._judge_on, health))

    def _judge_on(self, health: RunHealth) -> None:
        self._judging = False
        self._judge(health)


def _said(kind: str, text: str) -> str:
    return tr(text) if kind == "end" else translate_message(text)


def _x_end(last_step: int, total: int) -> float:
    """The same for all charts: a round number of steps, but not beyond the end of the run."""
    end = round_end(float(last_step))
    return min(end, float(total)) if total >= last_step else end


if __name__ == "__main__":
    for last_step in (7, 95, 370):
        print(last_step, "of 400 steps, axis to", _x_end(last_step, 400))
    print("=== 自测通过 ===")
