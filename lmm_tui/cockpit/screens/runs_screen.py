"""The list of all runs of a folder: columns, order, filter and tree; marked, and opened from here.

The folder is read in a thread, then what all metrics of a run are needed for, a little at a time.
What can be done to runs is in `run_actions` and `run_outputs`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message

from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.messages import ColumnsChosen, OpenRun
from lmm_tui.cockpit.screens.list_screen import WorkDone
from lmm_tui.cockpit.screens.run_outputs import RunOutputs
from lmm_tui.cockpit.screens.runs_table import DEFAULT_COLUMNS, GROUP, QUIET, RunsTable
from lmm_tui.cockpit.widgets.filter_input import FilterInput
from lmm_tui.cockpit.widgets.health_panel import VERDICT_STYLES
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs
from lmm_tui.cockpit.widgets.table import Table
from lmm_tui.engine.run.run_records import RunInfo
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import listed, tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.runs.fleets import fleet_of
from lmm_tui.runs.run_columns import DIFFERING, LARGEST_FIRST, RunColumns
from lmm_tui.runs.run_details import RunDetails
from lmm_tui.runs.run_filter import filtered, without_archived
from lmm_tui.runs.run_list import ListedRun, RunList, ancestry
from lmm_tui.runs.run_tree import BRANCHINGS, TITLES, tree
from lmm_tui.terminal.safe_text import clean

_NEWEST_FIRST = "started"
_LONGEST_SHARE = 0.05
"""Of a core, for reading a folder of thousands of runs again and again."""
_READ_AT_ONCE_S = 0.1
_READ_ON_AFTER_S = 0.3


@dataclass
class RunsRead(Message):
    """A thread has read the folder, in so many seconds; at first `settings` are still to come."""

    runs: tuple[ListedRun, ...]
    seconds: float
    settings: bool = True


@dataclass
class DetailsRead(Message):
    """A thread has read more of the metrics of the runs; `more` is left."""

    more: bool


@dataclass
class Fetched(Message):
    """Runs of other machines are here now."""

    then: Callable[[], object]


class RunsScreen(RunOutputs):
    """The runs of `folder`; `shown_run` says which of them the dashboard shows."""

    PLACE = "runs"
    BINDINGS = bindings("runs")

    def __init__(
        self,
        folder: Path,
        shown_run: Callable[[], Path | None],
        chosen: Sequence[str] = DEFAULT_COLUMNS,
    ) -> None:
        super().__init__()
        self._folder = folder
        self._fleet = fleet_of(folder)
        self._shown_run = shown_run
        self._chosen = tuple(chosen) or DEFAULT_COLUMNS
        self._list = RunList(folder)
        self._details = RunDetails(folder)
        self._lines = RunsTable(shown_run)
        self._all: tuple[ListedRun, ...] | None = None
        self._has_settings = False
        self._columns = RunColumns((), self._details)
        self._names: list[str] = []
        self._by = _NEWEST_FIRST
        self._falling = True
        self._wanted = ""
        self._kept: list[ListedRun] = []
        self._branching = BRANCHINGS[0]
        self._folded: set[str] = set()
        self._marked: set[Path] = set()

    @property
    def marked(self) -> tuple[ListedRun, ...]:
        return tuple(run for run in self._kept if run.summary.path in self._marked)

    @property
    def remote(self) -> bool:
        return self._fleet is not None

    @property
    def away(self) -> dict[str, str]:
        """The machines of a fleet that cannot be reached now, with why."""
        return self._fleet.away if self._fleet is not None else {}

    def fetch(self, runs: Sequence[Path], then: Callable[[], object]) -> None:
        fleet = self._fleet
        if fleet is None:
            then()
            return

        def work() -> Message:
            for run in runs:
                fleet.follow(run)
            return Fetched(then)

        self.toast(tr("Connecting to {names} …", names=listed([run.name for run in runs])), "runs")
        self.in_background("fetch", work, lambda why: WorkDone("runs", why, ok=False))

    def on_fetched(self, message: Fetched) -> None:
        message.then()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that were chosen, by which they are kept for the next start."""
        return self._chosen

    def shown_columns(self) -> tuple[RunColumns, Sequence[str]]:
        return self._columns, self._names

    def compose_body(self) -> ComposeResult:
        yield Table((), tr("Reading …"))
        yield from super().compose_body()
        yield FilterInput(tr("words, or comparisons such as lr<1e-3 stage=sft tag=night val<2"))

    def look(self) -> None:
        def read() -> Message:
            began = time.monotonic()
            runs = self._list.read()
            if self._all is None:
                self.post_message(RunsRead(runs, 0.0, settings=False))
            self._details.refresh(runs)
            return RunsRead(runs, time.monotonic() - began)

        self.in_background("runs", read)

    def on_runs_read(self, message: RunsRead) -> None:
        first = self._all is None
        self._all, self._has_settings = message.runs, message.settings
        self.look_every(max(self.LOOK_EVERY_S, message.seconds / _LONGEST_SHARE))
        self._marked &= {run.summary.path for run in self._all}
        self._show()
        shown = self._shown_run()
        for run in self._all if first else ():
            if run.summary.path == shown:
                self.query_one(Table).go_to(run.name)
        if message.settings:
            self._read_on()

    def _read_on(self) -> None:
        """First what is listed, in its order, then the others."""
        runs = [*self._kept, *(self._all or ())]
        self.in_background(
            "details", lambda: DetailsRead(self._details.read_on(runs, _READ_AT_ONCE_S))
        )

    def on_details_read(self, message: DetailsRead) -> None:
        if self.is_current:
            self._show()
            if message.more:
                self.set_timer(_READ_ON_AFTER_S, self._read_on)

    # What is shown

    def _show(self) -> None:
        everything = self._all or ()
        words = self._wanted.split()
        runs = without_archived(everything, words)
        self._columns = columns = RunColumns(runs, self._details)
        wrong = ""
        try:
            self._kept = filtered(runs, words, columns)
        except LmmError as error:  # As while a comparison is being written.
            wrong = str(error)
            kept = {run.summary.path for run in self._kept}
            self._kept = [run for run in runs if run.summary.path in kept]
        self._names = self._known_columns(columns)
        if self._chosen == DEFAULT_COLUMNS:
            self._names = self._lines.without_empty(self._names, columns, self._kept)
        ordered = columns.sorted(self._kept, self._by, self._falling)
        self._kept = ordered
        table = self.query_one(Table)
        table.set_columns(self._lines.columns(self._names, columns, ordered))
        lines = tree(ordered, self._branching, self._folded)
        table.show(
            [
                self._lines.row(line, self._names, columns, self._is_marked(line.run, line.members))
                for line in lines
            ],
            sorted_by=(self._by, self._falling),
            empty=self._empty_text(),
        )
        self._show_facts(len(everything) - len(runs), wrong)
        self.show_detail()

    def _known_columns(self, columns: RunColumns) -> list[str]:
        """Full names of the chosen columns; a setting that no run has any more is left out."""
        names: list[str] = []
        for name in self._chosen:
            if name == DIFFERING and not self._has_settings:
                continue
            try:
                names += columns.chosen([name], self._kept)
            except LmmError:
                continue
        return [*dict.fromkeys(("name", *names))]

    def _is_marked(self, run: ListedRun | None, members: Sequence[ListedRun]) -> bool:
        of = members if run is None else (run,)
        return all(one.summary.path in self._marked for one in of)

    def _show_facts(self, archived: int, wrong: str) -> None:
        shown, runs = len(self._kept), len(self._all or ()) - archived
        live = sum(run.live for run in self._kept)
        if wrong:
            facts = [translate_message(wrong)]
        elif self._wanted:
            facts = [tr("{count} of {all}", count=shown, all=runs)]
        else:
            facts = [tr("1 run") if runs == 1 else tr("{count} runs", count=runs)]
        facts += [tr("{count} live", count=live)] if live else []
        facts += [tr("{host} is away", host=host) for host in self.away]
        facts += [tr("{count} archived", count=archived)] if archived else []
        facts += [tr("{count} marked", count=len(self.marked))] if self.marked else []
        self.query_one(ScreenTabs).show(" · ".join(facts))

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

    def detail(self) -> list[Content]:
        run = self.run_under_cursor()
        if run is None:
            return self._group_detail()
        info, error = run.summary.info, run.summary.status.error
        chain = " → ".join(ancestry(run, self._all or ()))
        process = tr("pid {pid} on {host}", pid=info.pid, host=info.host) if info.pid else ""
        known = (info.model, info.device, info.precision, process)
        facts = tr(run.summary.log_format) if run.is_log else " · ".join(filter(None, known))
        hint = "" if run.is_log else tr("no note (a to add)")
        verdict = run.summary.verdict
        trouble = verdict.text if verdict.is_trouble else ""
        style = "$error" if error else VERDICT_STYLES[verdict.level] if trouble else ""
        last = translate_message(error or trouble) or run.note or hint
        host = run.name.partition(":")[0]
        if why := self.away.get(host, ""):
            last, style = (
                tr("{host} is away: {why}", host=host, why=translate_message(why)),
                "$warning",
            )
        return [
            Content.assemble((clean(chain), "bold"), (f"  {clean(facts)}", QUIET)),
            Content.styled(clean(str(run.summary.path)), QUIET),
            Content.styled(clean(last), style),
        ]

    def _group_detail(self) -> list[Content]:
        """The best of a group, where the cursor is on its head."""
        members = self._members(self.query_one(Table).cursor or "")
        if not members:
            return []
        best = self._columns.sorted(members, "best", False)[0]
        said = f"{best.name} · {self._columns.text(best, 'best')}"
        states = Counter(tr(one.summary.state) for one in members)
        facts = " · ".join(f"{count} {state}" for state, count in states.items())
        return [
            Content.assemble((clean(members[0].summary.info.group), "bold"), (f"  {facts}", QUIET)),
            Content.styled(tr("best validation loss: {run}", run=clean(said)), QUIET),
        ]

    def preview(self) -> tuple[Path, RunInfo, tuple[int, ...]] | None:
        run = self.run_under_cursor()
        return None if run is None else (run.summary.path, run.summary.info, ())

    # Order and choice

    @on(Table.HeadClicked)
    def _head_clicked(self, message: Table.HeadClicked) -> None:
        again = message.column == self._by
        self.sort_by(message.column, not self._falling if again else None)

    def action_sort(self) -> None:
        order = [*dict.fromkeys((_NEWEST_FIRST, *self._names))]
        self.sort_by(
            order[(order.index(self._by) + 1) % len(order)] if self._by in order else "name"
        )

    def sort_by(self, column: str, falling: bool | None = None) -> None:
        """Sort by the full name of a column; from the end that a person wants to see first."""
        self._by = column
        self._falling = column in LARGEST_FIRST if falling is None else falling
        self._show()

    def action_reverse(self) -> None:
        self.sort_by(self._by, not self._falling)

    def action_branch(self) -> None:
        at = BRANCHINGS.index(self._branching) + 1
        self._branching = BRANCHINGS[at % len(BRANCHINGS)]
        self._show()
        self.toast(tr(TITLES[self._branching]), "view")

    def choose_columns(self, chosen: Sequence[str]) -> None:
        self._chosen = tuple(chosen) or DEFAULT_COLUMNS
        self.post_message(ColumnsChosen(tuple(chosen)))
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
        """Mark what is under the cursor, or unmark it; all of a group by its head."""
        key = self.query_one(Table).cursor or ""
        run = self.run_under_cursor()
        paths = {one.summary.path for one in ([run] if run else self._members(key))}
        self._marked = self._marked - paths if paths <= self._marked else self._marked | paths
        self._show()
        self.query_one(Table).action_move(1)

    def action_mark_all(self) -> None:
        """Mark all runs that are listed, or unmark them."""
        paths = {run.summary.path for run in self._kept}
        self._marked = set() if paths <= self._marked else self._marked | paths
        self._show()

    @on(Table.Opened)
    def action_open(self) -> None:
        if run := self.run_under_cursor():
            path = run.summary.path
            self.fetch([path], lambda: self.post_message(OpenRun(path)))
        elif key := self.query_one(Table).cursor:
            self._folded ^= {key.removeprefix(GROUP)}
            self._show()

    def is_shown(self, run: Path) -> bool:
        return self._shown_run() == run

    def run_under_cursor(self) -> ListedRun | None:
        key = self.query_one(Table).cursor
        return None if key is None else self._run_of(key)

    def _run_of(self, name: str) -> ListedRun | None:
        return next((run for run in self._kept if run.name == name), None)

    def _members(self, key: str) -> list[ListedRun]:
        group = key.removeprefix(GROUP) if key.startswith(GROUP) else ""
        return [run for run in self._kept if group and run.summary.info.group == group]


if __name__ == "__main__":
    screen = RunsScreen(Path(), lambda: None, ("name", "lr"))
    print(screen.columns, screen.marked)
    print("=== 自测通过 ===")
