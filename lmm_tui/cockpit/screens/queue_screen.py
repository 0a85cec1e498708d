"""The sweeps of the runs folder with their trials: paused, reordered, cancelled, trained on.

They are read in a thread: Optuna takes half a second to import.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message

from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.messages import OpenRun
from lmm_tui.cockpit.screens.dialogs import AskDialog, Choice, ChoiceDialog
from lmm_tui.cockpit.screens.list_screen import ListScreen
from lmm_tui.cockpit.screens.queue_table import (
    COLUMNS,
    SweepView,
    TrialView,
    head_row,
    trial_row,
)
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs
from lmm_tui.cockpit.widgets.table import Table, titled
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_records import RunInfo
from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import version_of
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.installation import missing
from lmm_tui.runs.fleets import has_mirrors
from lmm_tui.terminal.safe_text import clean

if TYPE_CHECKING:
    from lmm_tui.sweeps.steer_sweep import SweepSteering

_QUIET = "$foreground 70%"


@dataclass
class SweepsRead(Message):
    """A thread has read the sweeps; those that cannot be read are named with why."""

    sweeps: tuple[SweepView, ...]
    broken: tuple[str, ...]


class QueueScreen(ListScreen):
    """The sweeps in the runs folder, the latest first."""

    PLACE = "queue"
    TAB = "runs"
    BINDINGS = bindings("queue")

    def __init__(self, runs_dir: Path) -> None:
        super().__init__()
        self._runs_dir = runs_dir
        self._known: dict[Path, tuple[object, SweepView]] = {}
        self._sweeps: tuple[SweepView, ...] = ()
        self._folded: set[str] = set()

    def compose_body(self) -> ComposeResult:
        yield Table(titled(COLUMNS), tr("Reading …"))
        yield from super().compose_body()

    def look(self) -> None:
        self.in_background("sweeps", self._read)

    def _read(self) -> SweepsRead:
        from lmm_tui.sweeps.sweep_plan import FOLDER, SweepFolder
        from lmm_tui.sweeps.workers import live_workers

        try:
            paths = [one for one in (self._runs_dir / FOLDER).iterdir() if one.is_dir()]
        except OSError:
            paths = []
        if not paths:
            return SweepsRead((), ())
        try:
            from lmm_tui.sweeps.results import sweep_record
        except ModuleNotFoundError as error:  # The light distribution has no Optuna.
            return SweepsRead((), (str(missing(error.name or "optuna")),))
        found, broken = [], []
        for path in sorted(paths, key=lambda path: path.stat().st_ctime, reverse=True):
            try:
                folder = SweepFolder(self._runs_dir, path.name)
                workers = tuple(live_workers(folder))
                version = version_of(folder.journal), version_of(path), workers
                known = self._known.get(path)
                # While it is worked on, runs move without a word in the journal.
                if known is None or known[0] != version or workers:
                    view = SweepView.of(sweep_record(folder), folder.read(), workers)
                    self._known[path] = known = version, view
                found.append(known[1])
            except (LmmError, OSError) as error:
                broken.append(f"{path.name}: {error}")
        return SweepsRead(tuple(found), tuple(broken))

    def on_sweeps_read(self, message: SweepsRead) -> None:
        self._sweeps = message.sweeps
        rows = []
        for sweep in self._sweeps:
            folded = sweep.name in self._folded
            rows.append(head_row(sweep, folded=folded))
            rows += [] if folded else [trial_row(sweep, trial) for trial in sweep.trials]
        empty = tr(
            "No sweeps yet.\nGive a field of the form several values, such as 1e-3, 3e-3, or a "
            "range, such as 1e-4..1e-2 log; or use `lmm-tui sweep`."
        )
        if has_mirrors(self._runs_dir):
            empty = tr("Sweeps are shown and steered on their own machine.\nUse lmm-tui there.")
        if message.broken and not rows:
            empty = "\n".join(map(translate_message, message.broken))
        self.query_one(Table).show(rows, empty=empty)
        count = len(self._sweeps)
        facts = [tr("1 sweep") if count == 1 else tr("{count} sweeps", count=count)]
        facts += [tr("{count} broken", count=len(message.broken))] if message.broken else []
        self.query_one(ScreenTabs).show(" · ".join(facts))
        self.show_detail()

    def detail(self) -> list[Content]:
        sweep, trial = self._under_cursor()
        if sweep is None:
            return []
        lines = [Content.assemble((clean(sweep.name), "bold"), (f"  {clean(sweep.space)}", _QUIET))]
        if trial is not None:
            return [*lines, Content(clean(f"{trial.run or trial.number}: {trial.point}"))]
        return [*lines, Content(clean(sweep.summary)), Content.styled(clean(sweep.saved), _QUIET)]

    def preview(self) -> tuple[Path, RunInfo, tuple[int, ...]] | None:
        _, trial = self._under_cursor()
        if trial is None or not trial.run:
            return None
        try:
            run = Reader(self._runs_dir / trial.run)
            return run.run_dir.path, run.view.info, ()
        except LmmError:
            return None

    # What can be done

    @on(Table.Opened)
    def action_open(self) -> None:
        sweep, trial = self._under_cursor()
        if trial is not None and trial.run:
            self.post_message(OpenRun(self._runs_dir / trial.run))
        elif sweep is not None and trial is None:
            self._folded ^= {sweep.name}
            self.on_sweeps_read(SweepsRead(self._sweeps, ()))

    def action_pause(self) -> None:
        sweep, _ = self._under_cursor()
        if sweep is not None:
            self._steer("pause", lambda steering: steering.pause(not sweep.paused))

    def action_work(self) -> None:
        def work(steering: SweepSteering) -> str:
            return tr("a queue works on it (pid {pid})", pid=steering.start_worker())

        self._steer("work", work)

    def action_first(self) -> None:
        self._steer_trial("first", lambda steering, number: steering.put_first(number))

    def action_drop(self) -> None:
        self._steer_trial("drop", lambda steering, number: steering.drop(number))

    def action_cancel(self) -> None:
        sweep, _ = self._under_cursor()
        if sweep is None:
            return
        question = tr(
            "{name}: no more trials begin, and those that train stop with a checkpoint.",
            name=sweep.name,
        )
        choices = [Choice("cancel", "y", mark("Cancel the sweep"))]

        def answered(answer: str | None) -> None:
            if answer == "cancel":
                self._steer("cancel", lambda steering: steering.cancel())

        self.app.push_screen(ChoiceDialog(tr("cancel a sweep"), question, choices), answered)

    def action_seeds(self) -> None:
        def judge(text: str) -> str:
            return "" if text.strip().isdecimal() else tr("a whole number")

        def queue(text: str | None) -> None:
            if text is not None:
                self._steer("seeds", lambda steering: steering.more_seeds(int(text)))

        if self._under_cursor()[0] is not None:
            question = tr("With how many more seeds is the best point trained?")
            self.app.push_screen(AskDialog(tr("seeds"), question, "2", judge), queue)

    def action_winner(self) -> None:
        """Train the best trial for twice as many steps."""
        from lmm_tui.cockpit.screens.run_actions import resume_detached

        sweep, _ = self._under_cursor()
        if sweep is None:
            return

        def resume(steering: SweepSteering) -> str:
            run = Reader(self._runs_dir / steering.best().run)
            steps = 2 * run.view.status.total_steps
            pid = resume_detached(run.run_dir, steps)
            return tr("{name} is training up to step {steps:,} (pid {pid})", name=run.run_dir.name,
                      steps=steps, pid=pid)  # fmt: skip

        if self._steer("winner", resume):
            self.toast(tr("Starting {name} …", name=sweep.best or sweep.name), "winner")

    def _steer(self, title: str, ask: Callable[[SweepSteering], str]) -> bool:
        sweep, _ = self._under_cursor()
        if sweep is None:
            return False
        name = sweep.name

        def work() -> str:
            from lmm_tui.sweeps.steer_sweep import SweepSteering
            from lmm_tui.sweeps.sweep_plan import SweepFolder

            return ask(SweepSteering(SweepFolder(self._runs_dir, name)))

        return self.do(title, work)

    def _steer_trial(self, title: str, ask: Callable[[SweepSteering, int], str]) -> None:
        _, trial = self._under_cursor()
        if trial is None:
            self.toast(tr("Put the cursor on a trial first"), title)
        else:
            self._steer(title, lambda steering: ask(steering, trial.number))

    def _under_cursor(self) -> tuple[SweepView | None, TrialView | None]:
        key = self.query_one(Table).cursor or ""
        name, _, number = key.partition("\0")
        for sweep in self._sweeps:
            if sweep.name == name:
                trials = (one for one in sweep.trials if f"{one.number}" == number)
                return sweep, next(trials, None)
        return None, None


if __name__ == "__main__":
    screen = QueueScreen(Path("no-such-folder"))
    print(screen._read())
    print("=== 自测通过 ===")
