"""The dashboard of one run: looks at a RunSession at its own pace and steers it by commands.

It reads nothing but the session and never waits: commands and exports run in threads whose
answers come back as messages. What stands where is in `pages`, what a chart shows in `panels`.
"""

from __future__ import annotations

import threading
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import events, on
from textual.app import ComposeResult
from textual.geometry import Size
from textual.timer import Timer

from lmm_tui.charts.chart import Chart
from lmm_tui.charts.heatmap import HeatMap
from lmm_tui.charts.ticks import round_end
from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.messages import CommandDone, ExportDone
from lmm_tui.cockpit.pinned_metrics import NOTHING, PinnedMetrics
from lmm_tui.cockpit.screens import export_view
from lmm_tui.cockpit.screens.chart_gestures import ChartGestures
from lmm_tui.cockpit.screens.dashboard_pages import DashboardPages, layer_prefix
from lmm_tui.cockpit.screens.dashboard_panels import (
    LAYER_NORMS,
    make_layer_map,
    make_pictures,
    marks_of,
    numbers_of,
    references_for,
    titles_of,
)
from lmm_tui.cockpit.screens.metric_charts import MetricCharts
from lmm_tui.cockpit.screens.metric_groups import panels_a_page
from lmm_tui.cockpit.screens.toasts import Toasts
from lmm_tui.cockpit.widgets.event_list import EventList
from lmm_tui.cockpit.widgets.filter_input import FilterInput
from lmm_tui.cockpit.widgets.health_panel import HealthPanel
from lmm_tui.cockpit.widgets.key_bar import KeyBar
from lmm_tui.cockpit.widgets.notice import Notice
from lmm_tui.cockpit.widgets.page_tabs import PageTabs
from lmm_tui.cockpit.widgets.panel_grid import PanelGrid
from lmm_tui.cockpit.widgets.probe_panel import ProbePanel
from lmm_tui.cockpit.widgets.progress_line import RunProgress
from lmm_tui.cockpit.widgets.run_header import RunHeader
from lmm_tui.cockpit.widgets.samples_panel import SamplesPanel
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import listed, mark, tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.runs import crash_advice
from lmm_tui.runs.session import RunSession, RunView
from lmm_tui.runs.status_text import run_argument
from lmm_tui.runs.worker_jobs import export_in_background, tabulate_in_background
from lmm_tui.terminal import capabilities
from lmm_tui.terminal.safe_text import clean

if TYPE_CHECKING:
    from lmm_tui.runs.run_health import RunHealth

LOOK_EVERY_S = 0.25
LOOK_OVER_SSH_EVERY_S = 0.5
"""Where bytes count."""
LOOK_BESIDE_TRAINING_EVERY_S = 1.0
"""With all cores training, what the screen takes is taken from every training thread, since they
wait for the slowest."""
LOOK_AT_ENDED_EVERY_S = 1.0
"""An ended run may still be resumed."""
READ_FIRST_S, READ_AT_ONCE_S = 0.015, 0.05
"""The longest that reading a big file may keep the keys waiting."""

SHARE, SHARE_BESIDE_TRAINING = 0.03, 0.012
"""Of a core, for all that this screen does: pictures wait until it has kept within that."""
LONGEST_REST_S, LONGEST_REST_BESIDE_TRAINING_S = 1.0, 4.0
"""However slow the machine, pictures are never older than this."""

_JUDGE_AT_ONCE_S = 0.005
_RESERVE_AFTER_S = 0.2
"""What is asked for has been painted by then."""


class DashboardScreen(ChartGestures, Toasts):
    """Everything there is to see of a run; `owned` means that it trains in this process."""

    BINDINGS = bindings("dashboard", "charts")
    AUTO_FOCUS = ""

    def __init__(self, session: RunSession, *, owned: bool, shelf: PinnedMetrics = NOTHING) -> None:
        super().__init__()
        self.session = session
        self.owned = owned
        self._stage = session.view.info.stage
        self._book = DashboardPages(shelf)
        self._health: RunHealth | None = None
        self._judging = False
        self._pending: list[str] = []
        self._notes: list[dict[str, Any]] = []
        self._zoomed = False
        self._pictures_stale = False
        self._pictures_at = 0.0
        self._spent_before = 0.0
        self._announced = len(session.events)
        self._timer: Timer | None = None
        self._period = 0.0

    @property
    def shelf(self) -> PinnedMetrics:
        """What is pinned and what is hidden."""
        return self._book.shelf

    def compose(self) -> ComposeResult:
        yield RunHeader()
        yield RunProgress()
        yield Notice()
        yield PageTabs()
        tiles = PanelGrid(
            *make_pictures(self._stage),
            ProbePanel(numbers_of(self._stage), id="probes"),
            SamplesPanel(id="samples"),
            HealthPanel(id="health"),
            EventList(id="events"),
            page=self._book.page,
            id="panels",
        )
        self._metric_charts = MetricCharts(self._book, tiles)
        yield tiles
        yield FilterInput(
            tr("words of a metric's name; enter keeps them, esc shows all metrics again")
        )
        yield KeyBar()

    def on_mount(self) -> None:
        self.session.poll(READ_FIRST_S)
        self._announced = len(self.session.events)
        self._first_probe = self._when_probed()
        self._show()
        self._pace()
        self.call_after_refresh(self._painted)

    # Looking

    def look(self) -> None:
        """Read what is new and show what changed; pictures only as often as they are cheap."""
        was_loading = self.session.loading
        try:
            changed = self.session.poll(READ_AT_ONCE_S)
        except LmmError as error:
            self._lose_run(str(error))
            return
        if changed or self.session.view.state == "stale":
            self._show_facts()
            self._pace()
        self._pictures_stale |= changed
        loaded = was_loading and not self.session.loading
        if self._pictures_stale and (loaded or self._pictures_due()):
            self._show_pictures()
        self._read_on()

    def _pictures_due(self) -> bool:
        """Whether this thread has kept within its share of a core since the last pictures."""
        beside = self.owned and self.session.view.active
        share = SHARE_BESIDE_TRAINING if beside else SHARE
        longest = LONGEST_REST_BESIDE_TRAINING_S if beside else LONGEST_REST_S
        rest = (time.thread_time() - self._spent_before) / share
        return time.monotonic() - self._pictures_at >= min(rest, longest)

    def _pace(self) -> None:
        """Look as often as the run and the line are worth it."""
        if not self.session.view.active:
            period = LOOK_AT_ENDED_EVERY_S
        elif self.owned:
            period = LOOK_BESIDE_TRAINING_EVERY_S
        else:
            period = LOOK_OVER_SSH_EVERY_S if capabilities.over_ssh() else LOOK_EVERY_S
        if period != self._period:
            self._period = period
            if self._timer is not None:
                self._timer.stop()
            self._timer = self.set_interval(period, self.look)

    def _read_on(self) -> None:
        """While much is left to read, don't wait for the next look."""
        if self.session.loading:
            self.set_timer(0.005, self.look)

    def _lose_run(self, why: str) -> None:
        if self._timer is not None:
            self._timer.stop()
        self.query_one(Notice).say(
            translate_message(why), tr("What was read before is still shown. q leaves.")
        )

    def _show(self) -> None:
        self._show_facts()
        self._show_pictures()

    def _show_facts(self) -> None:
        """What is words: cheap, so at every look."""
        session, view = self.session, self.session.view
        self.query_one(RunHeader).show(
            view,
            pending=tuple(self._pending),
            unreadable=session.unreadable_lines,
            loading=session.loading,
        )
        self.query_one(RunProgress).show(view)
        ended = "" if view.active else tr("The run has ended without any.")
        probes, samples = self.query_one(ProbePanel), self.query_one(SamplesPanel)
        probes.expect(ended or self._first_probe)
        probes.update_from(session.series)
        samples.expect(ended or tr("p asks the model for text, at any time."))
        samples.show(session.samples)
        if self._health is not None:
            self._judge(self._health)
        self.query_one(EventList).show(self._all_events())
        self._show_notice()
        self._show_keys()
        self._announce()

    def _painted(self) -> None:
        """Whatever else there is to read and to load waits until there is something to see."""
        self._read_on()
        from lmm_tui.runs.run_health import RunHealth

        self._health = RunHealth(self.session)
        self._judge(self._health)

    def _judge(self, health: RunHealth) -> None:
        """Let the rules see what is new; a long past is worked off between other things."""
        if self.session.loading:
            return  # There is something to see sooner without.
        seen = health.look(_JUDGE_AT_ONCE_S)
        if len(self.session.series):
            self.query_one(HealthPanel).show(seen.verdict, seen.open, seen.alerts)
        if not seen.complete and not self._judging:
            self._judging = True
            self.set_timer(_JUDGE_AT_ONCE_S, partial(self._judge_on, health))

    def _judge_on(self, health: RunHealth) -> None:
        self._judging = False
        self._judge(health)

    def _show_pictures(self) -> None:
        self._pictures_at, self._spent_before = time.monotonic(), time.thread_time()
        session, view = self.session, self.session.view
        x_end = _x_end(session.series.last_step or 0, view.status.total_steps)
        marks = marks_of(session.events)
        for chart in self.query(Chart):
            levels = references_for(chart, view.info.references)
            if levels != chart.references:
                chart.references = levels
            chart.marks = marks
            chart.update_from(session.series, x_end)
        measured = session.series.names()
        for heat_map in self.query(HeatMap):
            prefix = layer_prefix(str(heat_map.id)) or LAYER_NORMS
            layers = [name for name in measured if name.startswith(prefix)]
            heat_map.update_from(session.series, layers, x_end)
        self._pictures_stale = False

    def _show_notice(self) -> None:
        view, notice = self.session.view, self.query_one(Notice)
        if view.state == "failed":
            details = _last_traceback(self.session.events)
            what = view.status.error or (details or tr("the run failed")).splitlines()[-1]
            notice.say(translate_message(what), crash_advice.for_failure(what, bool(details)))
        elif view.state == "crashed":
            checkpoints = self.session.run_dir.checkpoints
            kept = checkpoints.is_dir() and any(checkpoints.iterdir())
            path, name = self.session.run_dir.path, view.info.name
            name = run_argument(path) if path.name == name else name  # The mirror of one elsewhere.
            notice.say(*crash_advice.for_crash(view.info.pid, name, kept))
        elif view.active and not len(self.session.series):
            notice.say(*_what_comes_next(view), calm=True)
        else:
            notice.say("", "")

    def _show_keys(self) -> None:
        view, book = self.session.view, self._book
        if book.lay_out(self.session.series.names(), self.app.size, self.query_one(PanelGrid).size):
            self._open_page()
        self.query_one(KeyBar).show(
            active=view.active, paused=view.state == "paused", pages=len(book.pages)
        )
        titles = tuple(self._named(page.title) for page in book.pages)
        self.query_one(PageTabs).show(titles, book.index)

    def _named(self, title: str) -> str:
        """The title of a page, in which two pictures are called as they are in this stage."""
        title = tr(title)
        for panel, own in titles_of(self._stage).items():
            title = title.replace(f"{{{panel}}}", tr(own))
        return title

    def _announce(self) -> None:
        """Say alerts and errors aloud, but only those that happen while somebody watches."""
        for event in self.session.events[self._announced :]:
            if event.get("level") in ("warning", "error") and event.get("kind") == "alert":
                self.toast(str(event.get("message", "")), "alert", severe=True)
        self._announced = len(self.session.events)

    def _all_events(self) -> list[Mapping[str, Any]]:
        if not self._notes:
            return list(self.session.events)
        return sorted([*self.session.events, *self._notes], key=_time_of)

    def _when_probed(self) -> str:
        """What the run's configuration says about the first probe."""
        try:
            settings = tomllib.loads(self.session.run_dir.config.read_text(encoding="utf-8"))
            every = int(settings["log"]["probe_every"])
        except (OSError, ValueError, KeyError, TypeError):
            every = 0
        if not every:
            return tr("p probes the live model, at any time.")
        return tr(
            "The first probe comes at step {step:,}; p probes the live model, at any time.",
            step=every,
        )

    # Size, pages, focus

    def on_resize(self, event: events.Resize) -> None:
        """Take the page for the new size before Textual lays out and paints for it."""
        tiles, last = self.query_one(PanelGrid).size, self.query_one(KeyBar).region
        before = Size(last.right, last.bottom)
        if tiles and event.size != before:
            # What is not tiles stays as high as it was.
            lines = tiles.height + event.size.height - before.height
            room = Size(event.size.width, max(lines, 0))
            if self._book.lay_out(self.session.series.names(), event.size, room):
                self._open_page()
        self.call_after_refresh(self._show)
        self.set_timer(_RESERVE_AFTER_S, self._reserve)

    def on_screen_suspend(self) -> None:
        if self._timer is not None:
            self._timer.pause()

    def on_screen_resume(self) -> None:
        if self._timer is not None:
            self._timer.resume()
            self.look()

    def action_turn_page(self, by: int) -> None:
        self._turn_to(self._book.index + by)

    def action_open_page(self, number: int) -> None:
        if number <= len(self._book.pages):
            self._turn_to(number - 1)

    def action_zoom(self) -> None:
        if self._zoomed:
            self._open_page()
        elif self.focused is not None and self.focused.parent is self.query_one(PanelGrid):
            self._zoomed = True
            self.query_one(PanelGrid).zoom_to(self.focused)
            self._show_pictures()
        else:
            self.toast(tr("tab to a panel first; then enter zooms it"), "zoom")

    def action_restore(self) -> None:
        if self._zoomed:
            self._open_page()
        elif self._book.words:
            self.query_one(FilterInput).leave(drop=True)
        elif not self.drop_cursor():
            self.set_focus(None)

    def _turn_to(self, index: int) -> None:
        self._book.turn_to(index)
        self._open_page()
        self._show_keys()

    def _open_page(self) -> None:
        """Show the open page, with charts for its metrics and none for those of other pages."""
        self._zoomed = False
        tiles, page = self.query_one(PanelGrid), self._book.page
        first = self.query_one("#first", Chart)
        self._metric_charts.show_page(like=first)
        there = {child.id for child in tiles.children}
        for panel in page.panels:
            if panel not in there and (prefix := layer_prefix(panel)):
                layer_map = make_layer_map(prefix, panel)
                layer_map.view, layer_map.cursor = first.view, first.cursor
                tiles.mount(layer_map)
        tiles.open_page(page)
        self._show_pictures()

    def _reserve(self) -> None:
        """Another page, or what the first letter of a search finds, would have to wait for them."""
        self._metric_charts.reserve(panels_a_page(self.query_one(PanelGrid).size))

    # Metrics: search, pin, hide

    def action_search(self) -> None:
        self.query_one(FilterInput).open()

    @on(FilterInput.Edited)
    def _search(self, message: FilterInput.Edited) -> None:
        self._book.words = message.text.strip()
        self._book.turn_to(0)
        self._show_keys()

    @on(FilterInput.Left)
    def _found(self) -> None:
        self.set_focus(None)

    def action_pin(self) -> None:
        self._shelve(lambda shelf, metric: shelf.pin(metric))

    def action_hide(self) -> None:
        self._shelve(lambda shelf, metric: shelf.hide(metric))

    def action_move_pinned(self, by: int) -> None:
        self._shelve(lambda shelf, metric: shelf.move(metric, by))

    def _shelve(self, change: Callable[[PinnedMetrics, str], PinnedMetrics]) -> None:
        panel = self.query_one(PanelGrid).panel_of(self.focused) if self.focused else None
        metric = self._book.metric_of(panel)
        if metric is None:
            self.toast(tr("tab to the chart of a metric first: n shows them all"), mark("metrics"))
        else:
            self._book.shelf = change(self._book.shelf, metric)
            self._show_keys()
            self.set_focus(self._metric_charts.chart_of(metric) or self.focused)

    # Steering

    def action_probe(self) -> None:
        self._ask("probe", "sample")

    def action_toggle_pause(self) -> None:
        self._ask("resume" if self.session.view.state == "paused" else "pause")

    def action_checkpoint(self) -> None:
        self._ask("checkpoint")

    def action_validate(self) -> None:
        self._ask("evaluate")

    def action_spikes(self) -> None:
        from lmm_tui.cockpit.screens.spikes import SpikesScreen

        folder, live = self.session.run_dir.spikes, self.session.view.active
        self.app.push_screen(SpikesScreen(folder, live=live), self._go_back)

    def _go_back(self, step: int | None) -> None:
        """Behind a spike, on past its batch."""
        if step is not None:
            self._ask("rollback", before=step)

    def action_export(self) -> None:
        self._export(lambda: export_in_background(self.session.run_dir.path))

    def action_export_shown(self) -> None:
        from lmm_tui.cockpit.screens.dialogs import ChoiceDialog

        text = tr(
            "Written into {folder}; nothing there is replaced.", folder=self.session.run_dir.plots
        )
        dialog = ChoiceDialog(tr("export"), text, export_view.CHOICES, first=export_view.PNG)
        self.app.push_screen(dialog, self._export_chosen)

    def _export_chosen(self, kind: str | None) -> None:
        match kind:
            case export_view.PNG:
                self.action_export()
            case export_view.SVG:
                # The dialog is still on the screen.
                self.call_after_refresh(self._export_screen)
            case export_view.CSV:
                self._export_curves()

    def _export_screen(self) -> None:
        picture = self.app.export_screenshot(title=clean(self.session.view.info.name))
        self._export(lambda: [export_view.write_picture(self.session.run_dir.plots, picture)])

    def _export_curves(self) -> None:
        charts = [chart for chart in self.query(Chart) if chart.is_on_screen]
        curves = export_view.Curves.of(charts)
        if curves is None:
            self.toast(tr("no curve is on the screen; n turns the page"), "export")
            return
        page = charts[0].title if self._zoomed else self._book.page.title
        run = self.session.run_dir

        def write() -> list[Path]:
            run.plots.mkdir(parents=True, exist_ok=True)
            target = curves.file(run.plots, page)
            tabulate_in_background(run.path, target, curves.metrics, curves.first, curves.last)
            return [target]

        self._export(write)

    def _ask(self, *commands: str, **args: Any) -> None:
        """Send commands with these arguments one after the other, as long as each succeeds.

        In a plain daemon thread: Textual waits for its workers when it ends, and a step can
        take minutes.
        """
        if self._begin(*commands):
            threading.Thread(
                target=self._send_all, args=(commands, args), name="commands", daemon=True
            ).start()

    def _begin(self, *tasks: str) -> bool:
        if any(task in self._pending for task in tasks):
            self.toast(tr("asked already; it is done between two steps"), tasks[0])
            return False
        self._pending += tasks
        self._show()
        return True

    def _send_all(self, commands: Sequence[str], args: Mapping[str, Any]) -> None:
        reply = Reply(True, "")
        for command in commands:
            if reply.ok:
                reply = self.session.send(command, args)
                self.post_message(CommandDone(command, reply))
            else:
                self.post_message(CommandDone(command, Reply(True, "")))

    def _export(self, write: Callable[[], list[Path]]) -> None:
        """In a plain daemon thread, as commands are sent."""

        def export() -> None:
            try:
                self.post_message(ExportDone(tuple(map(str, write()))))
            except (LmmError, OSError) as error:
                self.post_message(ExportDone((), str(error)))

        if self._begin("export"):
            threading.Thread(target=export, name="export", daemon=True).start()

    def on_command_done(self, message: CommandDone) -> None:
        self._pending.remove(message.command)
        reply = message.reply
        if reply.message:
            self.toast(reply.message, message.command, severe=not reply.ok)
        if not reply.ok:
            self._note("command", f"{message.command}: {reply.message}", "warning")
        self.look()
        self._show()

    def on_export_done(self, message: ExportDone) -> None:
        self._pending.remove("export")
        text = message.error or tr("wrote {files}", files=listed(message.paths))
        self.toast(text, "export", severe=bool(message.error))
        self._note("export", text, "warning" if message.error else "info")
        self._show()

    def _note(self, kind: str, text: str, level: str) -> None:
        step = self.session.view.status.step
        self._notes.append(
            {"time": time.time(), "step": step, "kind": kind, "level": level, "message": text}
        )


def _what_comes_next(view: RunView) -> tuple[str, str]:
    """For a run that has not measured anything yet."""
    if view.state == "starting":
        return (
            translate_message(view.status.activity) or tr("loading torch"),
            tr("Then training begins. ? shows the keys, q leaves or stops."),
        )
    return tr("The first step is under way"), tr("The charts fill in as steps are done.")


def _x_end(last_step: int, total: int) -> float:
    """The same for all charts: a round number of steps, but not beyond the end of the run."""
    end = round_end(float(last_step))
    return min(end, float(total)) if total >= last_step else end


def _last_traceback(events: list[dict[str, Any]]) -> str:
    for event in reversed(events):
        if event.get("kind") == "error" and event.get("traceback"):
            return str(event["traceback"]).strip()
    return ""


def _time_of(event: Mapping[str, Any]) -> float:
    seconds = event.get("time")
    return float(seconds) if isinstance(seconds, int | float) else 0.0


if __name__ == "__main__":
    import asyncio
    import json
    import tempfile

    from textual.app import App

    from lmm_tui.engine.run.run_dir import RunDir, RunInfo, RunStatus
    from lmm_tui.textual_patches.screen_strips import screen_text

    async def look_at(path: Path) -> str:
        app: App[None] = App()
        async with app.run_test(size=(80, 24)) as pilot:
            await app.push_screen(DashboardScreen(RunSession(path), owned=False))
            await pilot.pause()
            return screen_text(app.screen)

    with tempfile.TemporaryDirectory() as folder:
        demo = RunDir(folder)
        demo.write_info(RunInfo("demo", "pretrain", 0.0, 0.0, "box", 1, 0.0, model="nano"))
        demo.write_status(RunStatus("finished", 60, 60))
        rows = [{"step": step, "train/loss": 7 / step**0.2} for step in range(1, 61)]
        demo.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
        print(seen := asyncio.run(look_at(demo.path)))
    assert "FINISHED" in seen and "60 / 60" in seen
    print("=== 自测通过 ===")
