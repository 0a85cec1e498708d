"""The list of all runs of a folder: sorted, filtered, marked, and opened from here.

The folder is read in a thread. What can be done to a run is in `run_actions`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message

from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.messages import OpenRun
from lmm_tui.cockpit.screens.run_actions import RunActions
from lmm_tui.cockpit.widgets.filter_input import FilterInput
from lmm_tui.cockpit.widgets.health_panel import VERDICT_STYLES
from lmm_tui.cockpit.widgets.run_header import BADGES
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs
from lmm_tui.cockpit.widgets.table import Table, TableColumn, TableRow, titled
from lmm_tui.engine.run.run_records import RunInfo
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.runs.run_list import LARGEST_FIRST, SORT_KEYS, ListedRun, RunList, ancestry, arranged
from lmm_tui.runs.status_text import (
    NOTHING,
    count,
    duration,
    number,
    result_text,
    verdict_text,
)
from lmm_tui.terminal.safe_text import clean

COLUMNS = (
    TableColumn("name", mark("name"), 16, grows=True),
    TableColumn("state", mark("state"), 10),
    TableColumn("health", mark("health"), 14),
    TableColumn("stage", mark("stage"), 8, rank=5),
    TableColumn("model", mark("model"), 8, rank=6),
    TableColumn("step", mark("step"), 13, right=True, rank=1),
    TableColumn("loss", mark("loss"), 8, right=True),
    TableColumn("val", mark("val"), 7, right=True, rank=3),
    TableColumn("speed", "tok/s", 6, right=True, rank=4),
    TableColumn("age", mark("age"), 12, right=True, rank=2),
    TableColumn("from", mark("from"), 12, grows=True, rank=7),
    TableColumn("note", mark("note"), 16, grows=True, rank=8),
)

_CURRENT = "bold $accent"
_QUIET = "$foreground 70%"


@dataclass
class RunsRead(Message):
    """A thread has read the folder."""

    runs: tuple[ListedRun, ...]


class RunsScreen(RunActions):
    """The runs of `folder`; `shown_run` says which of them the dashboard shows."""

    PLACE = "runs"
    BINDINGS = bindings("runs")

    def __init__(self, folder: Path, shown_run: Callable[[], Path | None]) -> None:
        super().__init__()
        self._folder = folder
        self._shown_run = shown_run
        self._list = RunList(folder)
        self._runs: tuple[ListedRun, ...] | None = None
        self._by = "age"
        self._falling = True
        self._wanted = ""
        self._marked: set[Path] = set()

    @property
    def marked(self) -> tuple[Path, ...]:
        shown = [self._run_of(row.key) for row in self.query_one(Table).rows]
        return tuple(run.summary.path for run in shown if run and run.summary.path in self._marked)

    def compose_body(self) -> ComposeResult:
        yield Table(titled(COLUMNS), tr("Reading …"))
        yield from super().compose_body()
        yield FilterInput(tr("name, state, stage, model, note"))

    def look(self) -> None:
        self.in_background("runs", lambda: RunsRead(self._list.read()))

    def on_runs_read(self, message: RunsRead) -> None:
        first = self._runs is None
        self._runs = message.runs
        self._marked &= {run.summary.path for run in self._runs}
        self._show()
        shown = self._shown_run()
        for run in self._runs if first else ():
            if run.summary.path == shown:
                self.query_one(Table).go_to(run.name)

    # What is shown

    def _show(self) -> None:
        runs = self._runs or ()
        kept = arranged(runs, by=self._by, falling=self._falling, wanted=self._wanted)
        now = time.time()
        self.query_one(Table).show(
            [self._row(run, now) for run in kept],
            sorted_by=(self._by, self._falling),
            empty=self._empty_text(),
        )
        live = sum(run.live for run in runs)
        if self._wanted:
            facts = [tr("{count} of {all}", count=len(kept), all=len(runs))]
        else:
            facts = [tr("1 run") if len(runs) == 1 else tr("{count} runs", count=len(runs))]
        facts += [tr("{count} live", count=live)] if live else []
        facts += [tr("{count} marked", count=len(self._marked))] if self._marked else []
        self.query_one(ScreenTabs).show(" · ".join(facts))
        self.show_detail()

    def _empty_text(self) -> str:
        if self._wanted:
            return tr(
                "No run is called or noted “{words}”.\nesc shows all runs again.",
                words=self._wanted,
            )
        return tr(
            "No runs in {folder} yet.\n"
            "8 configures and starts one here; `lmm-tui launch` does so on a command line.",
            folder=self._folder,
        )

    def _row(self, run: ListedRun, now: float) -> TableRow:
        info, status = run.summary.info, run.summary.status
        sign, colour = BADGES.get(run.summary.state, ("?", "$warning"))
        verdict = run.summary.verdict
        if verdict.level == "error":
            colour = "$error"
        shown = self._shown_run()
        current = shown == run.summary.path
        steps = f"{status.step:,}" + (f"/{count(status.total_steps)}" if status.total_steps else "")
        kind = tr(run.summary.log_format) if run.is_log else info.stage
        return TableRow(
            run.name,
            {
                "name": (run.name, _CURRENT if current else ""),
                "state": (f"{sign} {tr(run.summary.state)}", colour),
                "health": (verdict_text(verdict), VERDICT_STYLES[verdict.level]),
                "stage": kind,
                "model": info.model,
                "step": steps if status.step or not run.is_log else NOTHING,
                "loss": result_text(info, status, few=True),
                "val": number(status.val_loss, 3),
                "speed": count(status.tokens_per_s) if status.tokens_per_s else NOTHING,
                "age": (duration(now - info.started) if info.started else NOTHING, _QUIET),
                "from": (info.parent, _QUIET),
                "note": (run.note, _QUIET),
            },
            run.summary.path in self._marked,
        )

    def detail(self) -> list[Content]:
        run = self.run_under_cursor()
        if run is None:
            return []
        info, error = run.summary.info, run.summary.status.error
        chain = " → ".join(ancestry(run, self._runs or ()))
        process = tr("pid {pid} on {host}", pid=info.pid, host=info.host) if info.pid else ""
        known = (info.model, info.device, info.precision, process)
        facts = tr(run.summary.log_format) if run.is_log else " · ".join(filter(None, known))
        hint = "" if run.is_log else tr("no note (a to add)")
        verdict = run.summary.verdict
        trouble = verdict.text if verdict.is_trouble else ""
        style = "$error" if error else VERDICT_STYLES[verdict.level] if trouble else ""
        last = translate_message(error or trouble) or run.note or hint
        return [
            Content.assemble((clean(chain), "bold"), (f"  {clean(facts)}", _QUIET)),
            Content.styled(clean(str(run.summary.path)), _QUIET),
            Content.styled(clean(last), style),
        ]

    def preview(self) -> tuple[Path, RunInfo, tuple[int, ...]] | None:
        run = self.run_under_cursor()
        return None if run is None else (run.summary.path, run.summary.info, ())

    # Order and choice

    @on(Table.HeadClicked)
    def _sort_by(self, message: Table.HeadClicked) -> None:
        if message.column in SORT_KEYS:
            again = message.column == self._by
            self._by = message.column
            self._falling = not self._falling if again else self._by in LARGEST_FIRST
            self._show()

    def action_sort(self) -> None:
        order = [*SORT_KEYS]
        self._by = order[(order.index(self._by) + 1) % len(order)]
        self._falling = self._by in LARGEST_FIRST
        self._show()

    def action_reverse(self) -> None:
        self._falling = not self._falling
        self._show()

    def action_filter(self) -> None:
        self.query_one(FilterInput).open()

    async def action_back(self) -> None:
        if self._wanted:
            self.query_one(FilterInput).leave(drop=True)
        else:
            await super().action_back()

    @on(FilterInput.Edited)
    def _filter(self, message: FilterInput.Edited) -> None:
        self._wanted = message.text
        self._show()

    @on(FilterInput.Left)
    def _filter_left(self, message: FilterInput.Left) -> None:
        self._wanted = message.text
        self._show()
        self.query_one(Table).focus()

    def action_mark(self) -> None:
        if run := self.run_under_cursor():
            self._marked ^= {run.summary.path}
            self._show()
            self.query_one(Table).action_move(1)

    @on(Table.Opened)
    def action_open(self) -> None:
        if run := self.run_under_cursor():
            self.post_message(OpenRun(run.summary.path))

    def is_shown(self, run: Path) -> bool:
        return self._shown_run() == run

    def run_under_cursor(self) -> ListedRun | None:
        key = self.query_one(Table).cursor
        return None if key is None else self._run_of(key)

    def _run_of(self, name: str) -> ListedRun | None:
        return next((run for run in self._runs or () if run.name == name), None)


if __name__ == "__main__":
    from lmm_tui.engine.run.run_records import RunInfo, RunStatus
    from lmm_tui.runs.status_text import RunSummary

    info = RunInfo("base", "sft", 0.0, 0.0, "here", 1, 0.0)
    run = ListedRun(RunSummary(Path("base"), info, RunStatus("finished", 10, 10), "finished"))
    print(RunsScreen(Path(), lambda: None)._row(run, 75.0))
    print("=== 自测通过 ===")
