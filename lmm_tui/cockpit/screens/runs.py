"""All runs of a folder: open one, compare two, rename, note, resume, throw away.

It reads in a thread and shows what came of it; what is done to a run is `run_care`'s business,
and nothing that could be missed is done without asking.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.messages import OpenRun
from lmm_tui.cockpit.screens.base_screen import BaseScreen
from lmm_tui.cockpit.screens.config_diff import ConfigDiffScreen
from lmm_tui.cockpit.screens.dialogs import AskDialog, Choice, ChoiceDialog
from lmm_tui.cockpit.widgets.filter_input import FilterInput
from lmm_tui.cockpit.widgets.run_header import BADGES
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs
from lmm_tui.cockpit.widgets.table import Table, TableColumn, TableRow, titled
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.number_format import NOTHING, count, duration, number
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.runs import manage_runs
from lmm_tui.runs.run_list import LARGEST_FIRST, SORT_KEYS, ListedRun, RunList, ancestry, arranged
from lmm_tui.runs.status_text import run_argument
from lmm_tui.terminal.safe_text import clean

COLUMNS = (
    TableColumn("name", mark("name"), 16, grows=True),
    TableColumn("state", mark("state"), 10),
    TableColumn("stage", mark("stage"), 8, rank=5),
    TableColumn("model", mark("model"), 8, rank=6),
    TableColumn("step", mark("step"), 13, right=True, rank=1),
    TableColumn("loss", mark("loss"), 7, right=True),
    TableColumn("val", mark("val"), 7, right=True, rank=3),
    TableColumn("speed", "tok/s", 6, right=True, rank=4),
    TableColumn("age", mark("age"), 12, right=True, rank=2),
    TableColumn("from", mark("from"), 12, grows=True, rank=7),
    TableColumn("note", mark("note"), 16, grows=True, rank=8),
)

_CURRENT = "bold $accent"
_QUIET = "$foreground 70%"
_TALL = 20


@dataclass
class RunsRead(Message):
    """A thread has read the folder."""

    runs: tuple[ListedRun, ...]


@dataclass
class CareTaken(Message):
    """What was done to a run in a thread, or why it was not; `opens` is to be shown next."""

    title: str
    text: str
    ok: bool = True
    opens: Path | None = None


class RunsScreen(BaseScreen):
    """The runs of `folder`; `shown_run` says which of them the dashboard shows."""

    PLACE = "runs"
    BINDINGS = bindings("runs")
    AUTO_FOCUS = "Table"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (_TALL, "-tall")]

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
        """The marked runs, in the order of the list."""
        shown = [self._run_of(row.key) for row in self.query_one(Table).rows]
        return tuple(run.summary.path for run in shown if run and run.summary.path in self._marked)

    def compose_body(self) -> ComposeResult:
        yield Table(titled(COLUMNS), tr("Reading …"))
        yield Static(id="detail")
        yield FilterInput(tr("name, state, stage, model, note"))

    def look(self) -> None:
        self.in_background("runs", lambda: RunsRead(self._list.read()))

    def on_runs_read(self, message: RunsRead) -> None:
        first = self._runs is None
        self._runs = message.runs
        self._marked &= {run.summary.path for run in self._runs}
        self._show()
        shown = self._shown_run()
        if first and shown is not None:
            self.query_one(Table).go_to(shown.name)

    # What is shown

    def _show(self) -> None:
        runs = self._runs or ()
        kept = arranged(runs, by=self._by, falling=self._falling, wanted=self._wanted)
        now = time.time()
        self.query_one(Table).show(
            [self._row(run, now) for run in kept],
            sorted_by=(self._by, self._falling),
            empty=self._emptiness(),
        )
        live = sum(run.live for run in runs)
        if self._wanted:
            facts = [tr("{count} of {all}", count=len(kept), all=len(runs))]
        else:
            facts = [tr("1 run") if len(runs) == 1 else tr("{count} runs", count=len(runs))]
        facts += [tr("{count} live", count=live)] if live else []
        facts += [tr("{count} marked", count=len(self._marked))] if self._marked else []
        self.query_one(ScreenTabs).show(" · ".join(facts))
        self._show_detail()

    def _emptiness(self) -> str:
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
        shown = self._shown_run()
        current = shown is not None and shown.name == run.name
        steps = f"{status.step:,}" + (f"/{count(status.total_steps)}" if status.total_steps else "")
        return TableRow(
            run.name,
            {
                "name": (run.name, _CURRENT if current else ""),
                "state": (f"{sign} {tr(run.summary.state)}", colour),
                "stage": info.stage,
                "model": info.model,
                "step": steps,
                "loss": number(status.loss, 3),
                "val": number(status.val_loss, 3),
                "speed": count(status.tokens_per_s) if status.tokens_per_s else NOTHING,
                "age": (duration(now - info.started), _QUIET),
                "from": (info.parent, _QUIET),
                "note": (run.note, _QUIET),
            },
            run.summary.path in self._marked,
        )

    def _show_detail(self) -> None:
        run = self._under_cursor()
        if run is None:
            self.query_one("#detail", Static).update("")
            return
        info = run.summary.info
        chain = " → ".join(ancestry(run, self._runs or ()))
        process = tr("pid {pid} on {host}", pid=info.pid, host=info.host)
        words = [info.model, info.device, info.precision, process]
        last = (
            translate_message(run.summary.status.error) or run.note or tr("no note; n writes one")
        )
        lines = [
            Content.assemble(
                (clean(chain), "bold"),
                ("  " + clean(" · ".join(filter(None, words))), _QUIET),
            ),
            Content.styled(clean(str(run.summary.path)), _QUIET),
            Content.styled(clean(last), "$error" if run.summary.status.error else ""),
        ]
        width = max(self.size.width - 4, 1)
        shown = [line.truncate(width, ellipsis=True) for line in lines]
        self.query_one("#detail", Static).update(Content("\n").join(shown))

    @on(Table.Moved)
    def _moved(self) -> None:
        self._show_detail()

    def on_resize(self) -> None:
        if self._runs is not None:
            self._show_detail()

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
        if run := self._under_cursor():
            self._marked ^= {run.summary.path}
            self._show()
            self.query_one(Table).action_move(1)

    @on(Table.Opened)
    def action_open(self) -> None:
        if run := self._under_cursor():
            self.post_message(OpenRun(run.summary.path))

    def action_overlay(self) -> None:
        if not self._marked:
            self.toast(tr("mark runs with space first"), "overlay")
            return
        from lmm_tui.cockpit.screens.overlay import OverlayScreen

        self.app.push_screen(OverlayScreen(self.marked))

    # What is done to runs

    def action_differences(self) -> None:
        marked = self.marked
        if len(marked) != 2:
            said = tr("mark two runs with space first; {count} are marked", count=len(marked))
            self.toast(said, "differences")
            return
        try:
            found = manage_runs.differences(*map(RunDir, marked))
        except LmmError as error:
            self.toast(str(error), "differences", severe=True)
            return
        self.app.push_screen(ConfigDiffScreen(marked[0].name, marked[1].name, found))

    def action_rename(self) -> None:
        if (run := self._at_rest("rename")) is not None:
            path = run.summary.path

            def judge(name: str) -> str:
                try:
                    manage_runs.check_name(RunDir(path), name)
                except LmmError as error:
                    return str(error)
                return ""

            question = tr("{name} shall be called", name=run.name)
            asked = AskDialog(tr("rename"), question, run.name, judge)
            self.app.push_screen(asked, partial(self._rename, path))

    def _rename(self, path: Path, name: str | None) -> None:
        if name is not None:
            follows = self._shown_run() == path

            def work() -> CareTaken:
                moved = manage_runs.rename(RunDir(path), name).path
                said = tr("{old} is {new} now", old=path.name, new=name)
                return CareTaken("rename", said, opens=moved if follows else None)

            self._take_care("rename", work)

    def action_note(self) -> None:
        if run := self._under_cursor():
            path = run.summary.path
            question = tr("A few words about {name}; none removes them", name=run.name)
            asked = AskDialog(tr("note"), question, run.note)
            self.app.push_screen(asked, partial(self._note, path))

    def _note(self, path: Path, text: str | None) -> None:
        if text is not None:

            def work() -> CareTaken:
                manage_runs.note(RunDir(path), text)
                return CareTaken("note", tr("noted") if text.strip() else tr("the note is gone"))

            self._take_care("note", work)

    def action_delete(self) -> None:
        if (run := self._at_rest("delete")) is not None:
            question = ChoiceDialog(
                tr("delete a run"),
                tr(
                    "{name}: {state} at step {step:,}.\nIt is moved to {trash}, not erased.",
                    name=run.name,
                    state=tr(run.summary.state),
                    step=run.summary.status.step,
                    trash=run.summary.path.parent / manage_runs.TRASH,
                ),
                [Choice("delete", "y", mark("Move it to the trash"))],
            )
            self.app.push_screen(question, partial(self._delete, run.summary.path))

    def _delete(self, path: Path, answer: str | None) -> None:
        if answer == "delete":

            def work() -> CareTaken:
                moved = manage_runs.throw_away(RunDir(path))
                return CareTaken("delete", tr("moved to {place}", place=moved))

            self._take_care("delete", work)

    def action_resume(self) -> None:
        if (run := self._at_rest("resume")) is not None:
            path, status = run.summary.path, run.summary.status
            ended = 0 < status.total_steps <= status.step
            steps = 2 * status.total_steps if ended else None
            more = f" --steps {steps}" if steps else ""
            said = tr("{name} goes on from its last intact checkpoint.", name=run.name)
            if ended:
                said = tr("{said} All its steps are done; this adds as many again.", said=said)
            command = f"lmm-tui resume {run_argument(path)}{more}"
            question = ChoiceDialog(
                tr("resume a run"),
                said,
                [
                    Choice("start", "y", mark("Resume it now, in a process of its own")),
                    Choice("copy", "c", mark("Copy the command line")),
                ],
                code=command,
            )
            self.app.push_screen(question, partial(self._resume, path, steps, command))

    def _resume(self, path: Path, steps: int | None, command: str, answer: str | None) -> None:
        if answer == "copy":
            self.app.copy_to_clipboard(command)
            self.toast(command, mark("copied"))
        elif answer == "start":

            def work() -> CareTaken:
                started = _go_on(RunDir(path), steps)
                said = tr("{name} trains in process {pid}", name=path.name, pid=started)
                return CareTaken("resume", said, opens=path)

            if self._take_care("resume", work):
                self.toast(tr("starting an engine for {name} …", name=path.name), "resume")

    def _take_care(self, name: str, work: Callable[[], CareTaken]) -> bool:
        """Do `work` beside the screen; what refuses it is told, not raised."""

        def done() -> CareTaken:
            try:
                return work()
            except (LmmError, OSError) as error:
                return CareTaken(name, str(error), ok=False)

        return self.in_background(name, done)

    def on_care_taken(self, message: CareTaken) -> None:
        self.toast(message.text, message.title, severe=not message.ok)
        if message.opens is not None:
            self.post_message(OpenRun(message.opens))
        else:
            self.look()

    # The run that is meant

    def _under_cursor(self) -> ListedRun | None:
        key = self.query_one(Table).cursor
        return None if key is None else self._run_of(key)

    def _run_of(self, name: str) -> ListedRun | None:
        return next((run for run in self._runs or () if run.name == name), None)

    def _at_rest(self, what: str) -> ListedRun | None:
        """The run under the cursor, unless it is alive: then nobody may touch its folder."""
        run = self._under_cursor()
        if run is not None and run.live:
            state = tr(run.summary.state)
            said = tr("{name} is {state}; stop it first", name=run.name, state=state)
            self.toast(said, what, severe=True)
            return None
        return run


def _go_on(run: RunDir, steps: int | None) -> int:
    """Resume a run in a process of its own; the process."""
    from lmm_tui.engine.config.resolve import resolve
    from lmm_tui.runs.detached import start

    config = resolve(run.config, {} if steps is None else {"train.steps": steps})
    return start(config, run).pid


if __name__ == "__main__":
    import asyncio
    import tempfile

    from textual.app import App

    from lmm_tui.engine.run.run_records import RunInfo, RunStatus

    async def list_them(folder: Path) -> list[str]:
        app: App[None] = App()
        async with app.run_test(size=(100, 24)) as pilot:
            screen = RunsScreen(folder, lambda: None)
            await app.push_screen(screen)
            while not screen.query_one(Table).rows:
                await pilot.pause(0.01)
            return [row.key for row in screen.query_one(Table).rows]

    with tempfile.TemporaryDirectory() as place:
        for started, name in enumerate(("base", "chat")):
            made = RunDir(Path(place) / name)
            made.create()
            made.write_info(RunInfo(name, "sft", 0.0, float(started), "here", 1, 0.0))
            made.write_status(RunStatus("finished", 10, 10))
        print(seen := asyncio.run(list_them(Path(place))))
    assert seen == ["chat", "base"]
    print("=== 自测通过 ===")
