"""The checkpoints of the run that is open: keep, check, evaluate, convert, start from, erase.

It reads in a thread and never a tensor; what takes long has a process of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.messages import StartFrom
from lmm_tui.cockpit.screens.base_screen import BaseScreen
from lmm_tui.cockpit.screens.dialogs import AskDialog, Choice, ChoiceDialog
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs
from lmm_tui.cockpit.widgets.table import Table, TableColumn, TableRow, titled
from lmm_tui.engine.checkpoints import checkpoint_files
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.number_format import NOTHING, count, duration, number, size
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.runs.checkpoint_list import ADAPTER, CheckpointList, ListedCheckpoint, best_of
from lmm_tui.runs.run_list import ListedRun
from lmm_tui.runs.status_text import RunSummary, run_argument
from lmm_tui.terminal.safe_text import clean

if TYPE_CHECKING:
    from lmm_tui.engine.evaluation.background import BackgroundEvaluation

COLUMNS = (
    TableColumn("step", mark("step"), 11, right=True),
    TableColumn("val", mark("val loss"), 8, right=True),
    TableColumn("loss", mark("loss"), 7, right=True, rank=3),
    TableColumn("tokens", mark("tokens"), 7, right=True, rank=4),
    TableColumn("size", mark("size"), 8, right=True, rank=1),
    TableColumn("age", mark("age"), 12, right=True, rank=2),
    TableColumn("kept", mark("kept as"), 12, grows=True),
    TableColumn("parts", mark("holds"), 26, grows=True, rank=5),
)
_QUIET = "$foreground 70%"


@dataclass
class CheckpointsRead(Message):
    """A thread has read the folder, and how the run is; no run where it has gone."""

    checkpoints: tuple[ListedCheckpoint, ...]
    run: ListedRun | None


@dataclass
class WorkDone(Message):
    """What came of something that took a while."""

    title: str
    text: str
    ok: bool = True


class CheckpointsScreen(BaseScreen):
    """What `run` has saved."""

    PLACE = "checkpoints"
    BINDINGS = bindings("checkpoints")
    AUTO_FOCUS = "Table"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-tall")]

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self._run = run
        self._list = CheckpointList(run)
        self._checkpoints: tuple[ListedCheckpoint, ...] = ()
        self._live = False
        self._evaluation: BackgroundEvaluation | None = None

    def compose_body(self) -> ComposeResult:
        yield Table(titled(COLUMNS), tr("Reading …"))
        yield Static(id="detail")

    def look(self) -> None:
        self.in_background("checkpoints", self._read)
        self._collect()

    def _read(self) -> CheckpointsRead:
        try:
            run = ListedRun(RunSummary.of(self._run))
        except LmmError:
            run = None
        return CheckpointsRead(self._list.read(), run)

    def on_checkpoints_read(self, message: CheckpointsRead) -> None:
        self._checkpoints = message.checkpoints
        self._live = message.run is not None and message.run.live
        self._show()

    # What is shown

    def _show(self) -> None:
        best = best_of(self._checkpoints)
        now = time.time()
        rows = [self._row(one, one is best, now) for one in self._checkpoints]
        self.query_one(Table).show(rows, empty=self._emptiness())
        total = sum(one.bytes for one in self._checkpoints)
        many = tr("1 checkpoint") if len(rows) == 1 else tr("{count} checkpoints", count=len(rows))
        self.query_one(ScreenTabs).show(f"{many} · {size(total)}", subject=self._run.name)
        self._show_detail()

    def _emptiness(self) -> str:
        if self._live:
            return tr(
                "No checkpoint yet.\nc on the dashboard writes one after the step in progress."
            )
        return tr("This run has saved nothing.\n2 lists the other runs.")

    @staticmethod
    def _row(one: ListedCheckpoint, best: bool, now: float) -> TableRow:
        kept = tr(", ").join(map(tr, one.kept)) or tr("nothing keeps it")
        return TableRow(
            one.path.name,
            {
                "step": f"{one.step:,}",
                "val": (number(one.val_loss, 4), "bold $success" if best else ""),
                "loss": number(one.loss, 4),
                "tokens": count(one.tokens) if one.tokens else NOTHING,
                "size": size(one.bytes),
                "age": (duration(now - one.written), _QUIET),
                "kept": (tr("damaged"), "$error") if one.trouble else (kept, ""),
                "parts": (tr(", ").join(map(tr, one.parts)), _QUIET),
            },
            one.pinned,
        )

    def _show_detail(self) -> None:
        one = self._under_cursor()
        lines = [Content(), Content(), Content()]
        if one is not None:
            holds = tr(", ").join(map(tr, one.parts)) or tr("nothing that training knows")
            stays = tr("● stays for good: it is pinned") if one.pinned else ""
            lines = [
                Content.assemble((one.path.name, "bold"), (f"  {holds}", _QUIET)),
                Content.styled(clean(str(one.path)), _QUIET),
                Content.styled(clean(translate_message(one.trouble)), "$error")
                if one.trouble
                else Content.styled(stays, _QUIET),
            ]
        width = max(self.size.width - 4, 1)
        text = Content("\n").join(line.truncate(width, ellipsis=True) for line in lines)
        self.query_one("#detail", Static).update(text)

    @on(Table.Moved)
    def _moved(self) -> None:
        self._show_detail()

    def on_resize(self) -> None:
        self._show_detail()

    def _under_cursor(self) -> ListedCheckpoint | None:
        key = self.query_one(Table).cursor
        return next((one for one in self._checkpoints if one.path.name == key), None)

    # What is done

    def action_pin(self) -> None:
        one = self._under_cursor()
        if one is None:
            return
        if not one.pinned:
            self._work("pin", partial(_pin, one.path))
        elif len(one.kept) > 1:
            self._work("pin", partial(_unpin, one.path))
        else:
            question = ChoiceDialog(
                tr("unpin"),
                tr(
                    "Nothing but the pin keeps {name}: the next checkpoint would remove it.",
                    name=one.path.name,
                ),
                [Choice("unpin", "y", mark("Unpin it"))],
            )
            self.app.push_screen(question, partial(self._if, "unpin", partial(_unpin, one.path)))

    def action_check(self) -> None:
        if one := self._under_cursor():
            self.toast(tr("reading all of {name} …", name=one.path.name), "check")
            self._work("check", partial(_check, one.path))

    def action_delete(self) -> None:
        one = self._under_cursor()
        if one is None:
            return
        if self._live and len(self._checkpoints) == 1:
            self.toast(tr("the only checkpoint of a live run stays"), "delete", severe=True)
            return
        loss = ""
        pinned = tr(" It is pinned.") if one.pinned else ""
        if one.val_loss is not None:
            loss = tr(", validation loss {loss:.4f}", loss=one.val_loss)
        question = ChoiceDialog(
            tr("erase a checkpoint"),
            tr(
                "{name}: {size}{loss}.{pinned}\nIt is erased; there is no trash for checkpoints.",
                name=one.path.name,
                size=size(one.bytes),
                loss=loss,
                pinned=pinned,
            ),
            [Choice("delete", "y", mark("Erase it for good"))],
        )
        harm = partial(_erase, self._run, one.path)
        self.app.push_screen(question, partial(self._if, "delete", harm))

    def action_evaluate(self) -> None:
        if one := self._under_cursor():
            question = ChoiceDialog(
                tr("evaluate a checkpoint"),
                tr(
                    "Ask {name} the built-in questions, in a process of its own that takes what "
                    "time it needs from the machine.",
                    name=one.path.name,
                ),
                [
                    Choice("go", "y", mark("Evaluate it now")),
                    Choice("copy", "c", mark("Copy the command line")),
                ],
                code=f"lmm-tui eval --run {run_argument(one.path)}",
                first="go",
            )
            self.app.push_screen(question, partial(self._evaluate, one.path))

    def _evaluate(self, path: Path, answer: str | None) -> None:
        if answer == "copy":
            self._copy(f"lmm-tui eval --run {run_argument(path)}")
        elif answer == "go":
            if self._evaluation is None:
                self._evaluation = _evaluation_beside(self._run)
            if self._evaluation.start(path):
                self.toast(tr("asking {name} …", name=path.name), "evaluate")
            else:
                self.toast(tr("the last evaluation is still under way"), "evaluate", severe=True)

    def _collect(self) -> None:
        """Say what came of evaluations that have ended."""
        for ended in self._evaluation.collect() if self._evaluation else ():
            if isinstance(ended, LmmError):
                self.toast(str(ended), "evaluate", severe=True)
                continue
            scores = [f"{score.task} {score.value:.3f}" for score in ended.outcome.scores]
            said = tr(
                "step {step}: {scores}; kept in evals/",
                step=ended.step,
                scores=tr(", ").join(scores),
            )
            self.toast(said, "evaluate")

    def action_convert(self) -> None:
        if one := self._under_cursor():
            asked = AskDialog(
                tr("convert"),
                tr(
                    "{name} becomes a new Hugging Face folder, or a new MiniMind .pth file, at "
                    "this path; weights stay as they are",
                    name=one.path.name,
                ),
                f"{self._run.name}-{one.step}-hf",
                _judge_target,
            )
            self.app.push_screen(asked, partial(self._convert, one))

    def _convert(self, one: ListedCheckpoint, target: str | None) -> None:
        if target is not None:
            self._work("convert", partial(_convert, one, Path(target).expanduser()))
            self.toast(tr("converting {name} …", name=one.path.name), "convert")

    def action_fork(self) -> None:
        if one := self._under_cursor():
            command = f"lmm-tui launch --from {run_argument(one.path)}"
            question = ChoiceDialog(
                tr("start from a checkpoint"),
                tr(
                    "A new run begins with the weights of {name} of {run}.",
                    name=one.path.name,
                    run=self._run.name,
                ),
                [
                    Choice("configure", "y", mark("Configure it here")),
                    Choice("copy", "c", mark("Copy the command line")),
                ],
                code=command,
                first="configure",
            )
            self.app.push_screen(question, partial(self._fork, one.path, command))

    def _fork(self, path: Path, command: str, answer: str | None) -> None:
        if answer == "copy":
            self._copy(command)
        elif answer == "configure":
            self.post_message(StartFrom(path))

    def on_unmount(self) -> None:
        if self._evaluation is not None:
            self._evaluation.close()

    # How it is done

    def _copy(self, command: str) -> None:
        self.app.copy_to_clipboard(command)
        self.toast(command, mark("copied"))

    def _if(self, wanted: str, work: Callable[[], str], answer: str | None) -> None:
        if answer == wanted:
            self._work(wanted, work)

    def _work(self, title: str, work: Callable[[], str]) -> None:
        def done() -> WorkDone:
            try:
                return WorkDone(title, work())
            except (LmmError, OSError) as error:
                return WorkDone(title, str(error), ok=False)

        if not self.in_background(title, done):
            self.toast(tr("still at it"), title, severe=True)

    def on_work_done(self, message: WorkDone) -> None:
        self.toast(message.text, message.title, severe=not message.ok)
        self.look()


def _pin(path: Path) -> str:
    checkpoint_files.pin(path)
    return tr("{name} stays for good", name=path.name)


def _unpin(path: Path) -> str:
    checkpoint_files.unpin(path)
    return tr("{name} is no longer pinned", name=path.name)


def _check(path: Path) -> str:
    checkpoint_files.verify(path)
    return tr("{name} is intact: every file is as it was written", name=path.name)


def _erase(run: RunDir, path: Path) -> str:
    """Asked again at the last moment: a live run keeps what it could resume from."""
    others = set(checkpoint_files.list_checkpoints(run.checkpoints)) - {path}
    if not others and ListedRun(RunSummary.of(run)).live:
        raise checkpoint_files.CheckpointError("the only checkpoint of a live run stays")
    checkpoint_files.remove(path)
    return tr("{name} is gone", name=path.name)


def _convert(one: ListedCheckpoint, target: Path) -> str:
    from lmm_tui.runs.worker_jobs import convert_in_worker

    return convert_in_worker(one.path, target, merge=ADAPTER in one.parts)


def _judge_target(text: str) -> str:
    if not text.strip():
        return tr("give a path, such as my-model or my-model.pth")
    if Path(text).expanduser().exists():
        return tr("{path}: exists already; nothing is overwritten, give another name", path=text)
    return ""


def _evaluation_beside(run: RunDir) -> BackgroundEvaluation:
    from lmm_tui.engine.evaluation.background import BackgroundEvaluation
    from lmm_tui.engine.evaluation.builtin_tasks import ALL
    from lmm_tui.engine.evaluation.flags import DEFAULT_LIMIT
    from lmm_tui.engine.evaluation.job import Job

    return BackgroundEvaluation(run, Job("", (ALL,), limit=DEFAULT_LIMIT))


if __name__ == "__main__":
    import asyncio
    import tempfile

    from textual.app import App

    from lmm_tui.engine.checkpoints.checkpoint_files import FORMAT, seal

    async def list_them(run: RunDir) -> list[str]:
        app: App[None] = App()
        async with app.run_test(size=(100, 24)) as pilot:
            screen = CheckpointsScreen(run)
            await app.push_screen(screen)
            while not screen.query_one(Table).rows:
                await pilot.pause(0.01)
            return [row.key for row in screen.query_one(Table).rows]

    with tempfile.TemporaryDirectory() as place:
        demo = RunDir(place)
        for step in (10, 20):
            made = demo.checkpoints / f"step-{step:09d}"
            made.mkdir(parents=True)
            seal(made, {"format": FORMAT, "step": step})
        print(seen := asyncio.run(list_them(demo)), size(3_141_592))
    assert seen == ["step-000000020", "step-000000010"]
    print("=== 自测通过 ===")
