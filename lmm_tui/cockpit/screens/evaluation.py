"""Evaluation in place: a checkpoint of the run that is open, asked tasks in a process of its own.

What is kept of a run is shown as scores with their error bars, as a history over its steps, and
beside the other runs of the folder. Cancelled, the same evaluation goes on where it was.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from lmm_tui.charts.braille import glyphs_for
from lmm_tui.charts.chart import Chart, Trace
from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.score_table import QUIET, Asked, run_lines, score_lines, scores_by_question
from lmm_tui.cockpit.screens.base_screen import BaseScreen
from lmm_tui.cockpit.screens.dialogs import AskDialog, Choice, ChoiceDialog
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs
from lmm_tui.cockpit.widgets.table import Table, TableColumn, TableRow, titled
from lmm_tui.engine.evaluation.builtin_tasks import ALL, NAMES
from lmm_tui.engine.evaluation.flags import DEFAULT_LIMIT
from lmm_tui.engine.evaluation.job import Backend, EvaluationProgress, Job
from lmm_tui.engine.evaluation.process import Evaluation
from lmm_tui.engine.evaluation.records import Record, file_in_run, read_records, write_record
from lmm_tui.engine.run.checkpoint_names import checkpoint_step, list_checkpoints
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import listed, mark, tr
from lmm_tui.i18n.number_format import duration
from lmm_tui.metrics.series.series import SeriesStore
from lmm_tui.terminal.safe_text import clean

VIEWS = (mark("scores"), mark("history"), mark("all runs"))
_COLUMNS = (TableColumn("name", mark("evaluate"), 11), TableColumn("value", "", 14, grows=True))
_MOST_OFFERED = 9
_BAR = 20
_SHORTEST = 6


@dataclass(frozen=True)
class Setup:
    """What `r` evaluates; a checkpoint of None is the newest."""

    checkpoint: Path | None = None
    backend: Backend = "run"
    tasks: tuple[str, ...] = (ALL,)
    limit: int | None = DEFAULT_LIMIT
    shots: int | None = None
    chat: bool = False
    data_dir: str | None = None
    device: str = "auto"

    def job(self, model: Path) -> Job:
        return Job(
            model=str(model),
            tasks=self.tasks,
            backend=self.backend,
            device=self.device,
            limit=self.limit,
            num_fewshot=self.shots,
            chat=self.chat,
            data_dir=self.data_dir,
        )


@dataclass
class RecordsRead(Message):
    """What is kept of all runs of the folder, and the checkpoints of this one."""

    runs: dict[str, list[Record]]
    checkpoints: list[Path]


@dataclass
class Progressed(Message):
    """How far the evaluation is."""

    at: EvaluationProgress


@dataclass
class Evaluated(Message):
    """It has ended: with a record, or with the sentence that says why not."""

    record: Record | None
    trouble: str = ""


class EvaluateScreen(BaseScreen):
    """Evaluates checkpoints of `run`, beside the other runs in its folder."""

    PLACE = "evaluate"
    BINDINGS = bindings("evaluate")
    AUTO_FOCUS = "Table"
    LOOK_EVERY_S = 5.0
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-tall")]

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self._run = run
        self._setup = Setup()
        self._runs: dict[str, list[Record]] = {}
        self._checkpoints: list[Path] = []
        self._view = 0
        self._asked: Asked | None = None
        self._drawn: Asked | None = None
        self._evaluation: Evaluation | None = None
        self._busy_with = ""
        self._cancelled = False
        self._progress: EvaluationProgress | None = None

    def compose_body(self) -> ComposeResult:
        with Container(id="evaluation"):
            yield Table(titled(_COLUMNS), "")
            with Vertical(id="results"):
                yield Static(id="state")
                yield Static(id="views")
                with VerticalScroll(id="page"):
                    yield Static(id="scores")
                yield Container(id="history")

    def look(self) -> None:
        self.in_background("records", self._read)

    def _read(self) -> RecordsRead:
        folder = self._run.path.parent
        try:
            names = sorted(path.parent for path in folder.glob("*/evals") if path.is_dir())
        except OSError:
            names = []
        runs = {path.name: read_records(RunDir(path)) for path in names}
        return RecordsRead(runs, list_checkpoints(self._run.checkpoints)[::-1])

    def on_records_read(self, message: RecordsRead) -> None:
        self._runs, self._checkpoints = message.runs, message.checkpoints
        self._show()

    @property
    def _records(self) -> list[Record]:
        return self._runs.get(self._run.path.name, [])

    # The settings

    def _rows(self) -> dict[str, tuple[str, str, Callable[[], None]]]:
        """What can be changed: value, whether it is special, and how."""
        setup = self._setup
        chosen = setup.checkpoint or next(iter(self._checkpoints), None)
        checkpoint = tr("none yet")
        if chosen:
            newest = setup.checkpoint is None
            checkpoint = tr(
                "step {step:,} (newest)" if newest else "step {step:,}",
                step=checkpoint_step(chosen),
            )
        shots = tr("as the task says") if setup.shots is None else str(setup.shots)
        backends = {"run": tr("our decoder"), "hf": "transformers"}
        limit = tr("all questions")
        if setup.limit is not None:
            limit = tr("{count} questions", count=setup.limit)
        return {
            mark("checkpoint"): (checkpoint, "" if chosen else "$warning", self._ask_checkpoint),
            mark("backend"): (backends[setup.backend], "", self._ask_backend),
            mark("tasks"): (" ".join(setup.tasks), "", self._ask_tasks),
            mark("limit"): (limit, "", self._ask_limit),
            mark("few-shot"): (shots, "", self._ask_shots),
            mark("template"): (tr("chat") if setup.chat else tr("none"), "", self._toggle_chat),
            mark("local data"): (setup.data_dir or "–", "", self._ask_data),
            mark("device"): (setup.device, "", self._ask_device),
        }

    @on(Table.Opened)
    def action_change(self) -> None:
        row = self._rows().get(self.query_one(Table).cursor or "")
        if row is not None:
            row[2]()

    def _change(self, **changes: object) -> None:
        self._setup = replace(self._setup, **changes)  # type: ignore[arg-type]
        self._show()

    def _ask_checkpoint(self) -> None:
        offered = self._checkpoints[:_MOST_OFFERED]
        if not offered:
            self._say_nothing_is_saved()
            return
        choices = [
            Choice(str(number), str(number), path.name) for number, path in enumerate(offered, 1)
        ]

        def chosen(answer: str | None) -> None:
            if answer:
                self._change(checkpoint=offered[int(answer) - 1])

        title = tr("which checkpoint")
        text = tr("The newest ones; `lmm-tui eval --run PATH` takes any.")
        self.app.push_screen(ChoiceDialog(title, text, choices, first="1"), chosen)

    def _say_nothing_is_saved(self) -> None:
        said = tr("nothing is saved yet; c on the dashboard writes a checkpoint")
        self.toast(said, "evaluate")

    def _ask_backend(self) -> None:
        choices = [
            Choice("run", "r", mark("Our own decoder")),
            Choice("hf", "h", mark("transformers, on the converted checkpoint")),
        ]

        def chosen(answer: str | None) -> None:
            if answer:
                self._change(backend=answer)

        text = tr("Both score the same questions; the second one checks the first.")
        self.app.push_screen(
            ChoiceDialog(tr("backend"), text, choices, first=self._setup.backend), chosen
        )

    def _ask_tasks(self) -> None:
        text = tr(
            "Names with spaces between them. Built in: {names}; or lm-eval's own.",
            names=listed(NAMES),
        )
        self._ask(tr("tasks"), text, " ".join(self._setup.tasks), _tasks, "tasks")

    def _ask_limit(self) -> None:
        text = tr("The first so many questions of each task; 0 asks all.")
        value = str(self._setup.limit or 0)
        self._ask(tr("limit"), text, value, lambda t: _whole(t) or None, "limit")

    def _ask_shots(self) -> None:
        text = tr("Worked examples before each question; empty is what the task says.")
        value = "" if self._setup.shots is None else str(self._setup.shots)
        self._ask(tr("few-shot"), text, value, lambda t: _whole(t) if t.strip() else None, "shots")

    def _ask_data(self) -> None:
        text = tr(
            "A folder with hellaswag.jsonl, arc_easy.jsonl, gsm8k.jsonl or mmlu/<subject>.jsonl; "
            "empty for none."
        )
        self._ask(tr("local data"), text, self._setup.data_dir or "", _folder, "data_dir")

    def _ask_device(self) -> None:
        text = tr("cpu, cuda, cuda:1, mps, or auto")
        self._ask(tr("device"), text, self._setup.device, lambda t: t.strip() or "auto", "device")

    def _toggle_chat(self) -> None:
        self._change(chat=not self._setup.chat)

    def _ask(
        self, title: str, text: str, value: str, read: Callable[[str], object], name: str
    ) -> None:
        def judge(answer: str) -> str:
            try:
                read(answer)
            except ValueError as error:
                return str(error)
            return ""

        def answered(answer: str | None) -> None:
            if answer is not None:
                self._change(**{name: read(answer)})

        self.app.push_screen(AskDialog(title, text, value, judge), answered)

    # Evaluating

    def action_run(self) -> None:
        checkpoint = self._setup.checkpoint or next(iter(self._checkpoints), None)
        if checkpoint is None:
            self._say_nothing_is_saved()
            return
        setup = replace(self._setup, checkpoint=checkpoint)
        self._cancelled, self._progress = False, None
        if self.in_background("evaluate", lambda: self._evaluate(setup, checkpoint)):
            self._busy_with = tr("step {step:,}", step=checkpoint_step(checkpoint))
            self._show_state()
        else:
            self.toast(tr("an evaluation is under way; x cancels it"), "evaluate", severe=True)

    def _evaluate(self, setup: Setup, checkpoint: Path) -> Evaluated:
        try:
            with tempfile.TemporaryDirectory(prefix="lmm-eval-") as scratch:
                model = checkpoint.resolve()
                if setup.backend == "hf":
                    model = _converted(checkpoint, Path(scratch) / "hf")
                self._evaluation = Evaluation(setup.job(model))
                if self._cancelled:
                    self._evaluation.cancel()
                outcome = self._evaluation.outcome(self._report)
            job = setup.job(checkpoint.resolve())
            step = checkpoint_step(checkpoint)
            record = Record(time.time(), self._run.name, step, job, outcome)
            write_record(record, file_in_run(record, self._run))
            return Evaluated(record)
        except (LmmError, OSError) as error:
            return Evaluated(None, str(error))
        finally:
            self._evaluation = None

    def _report(self, at: EvaluationProgress) -> None:
        self.post_message(Progressed(at))

    def on_progressed(self, message: Progressed) -> None:
        self._progress = message.at
        self._show_state()

    def on_evaluated(self, message: Evaluated) -> None:
        self._busy_with, self._progress = "", None
        if message.record is None:
            cancelled = tr("cancelled; r goes on where it was")
            said = cancelled if self._cancelled else message.trouble
            self.toast(said, "evaluate", severe=not self._cancelled)
        else:
            self.toast(message.record.sentence, mark("evaluated"))
        self._show_state()
        self.look()

    def action_cancel(self) -> None:
        if not self._busy_with:
            self.toast(tr("nothing is being evaluated; r begins"), "evaluate")
            return
        self._cancelled = True
        if (running := self._evaluation) is not None:
            running.cancel()

    def on_unmount(self) -> None:
        self._cancelled = True
        if (running := self._evaluation) is not None:
            running.cancel()

    # What is shown

    def action_turn(self, by: int) -> None:
        self._view = (self._view + by) % len(VIEWS)
        self._show()

    def action_view(self, number: int) -> None:
        self._view = number
        self._show()

    def action_metric(self, by: int) -> None:
        kinds = [*scores_by_question(self._records)]
        if kinds:
            at = kinds.index(self._asked) if self._asked in kinds else -1
            self._asked = kinds[(at + by) % len(kinds)]
            self._view = self._view or 1
            self._show()

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        rows = [
            TableRow(name, {"name": tr(name), "value": (clean(value), style)})
            for name, (value, style, _) in self._rows().items()
        ]
        self.query_one(Table).show(rows, empty="")
        many = len(self._records)
        said = tr("1 evaluation") if many == 1 else tr("{count} evaluations", count=many)
        self.query_one(ScreenTabs).show(said, subject=self._run.name)
        self._show_state()
        self._show_views()
        self._show_page()

    def _show_state(self) -> None:
        if not self._busy_with:
            keys = tr("r evaluates · enter changes a setting · v turns the page")
            text = Content.styled(keys, QUIET)
        elif (at := self._progress) is None or not at.total:
            text = Content.assemble((f"{self._busy_with}  ", "bold"), tr("starting lm-eval …"))
        else:
            known = f" · {tr('{count} known', count=at.remembered)}" if at.remembered else ""
            name = f"{self._busy_with}  "
            facts = "  " + tr("{done}/{total} answers", done=at.done, total=at.total)
            if at.eta_s is not None:
                facts += f" · {tr('{time} left', time=duration(at.eta_s))}"
            room = self.query_one("#state").content_size.width - cell_len(name) - cell_len(facts)
            if room - cell_len(known) >= _SHORTEST:
                room, facts = room - cell_len(known), facts + known
            bar = max(min(room, _BAR), _SHORTEST)
            full = round(bar * at.done / at.total)
            text = Content.assemble(
                (name, "bold"), ("━" * full, "$accent"), ("─" * (bar - full), "$panel"), facts
            )
        self.query_one("#state", Static).update(text)

    def _show_views(self) -> None:
        parts = [
            Content.from_markup(
                f"[@click=screen.view({number})][{'bold $accent' if chosen else '$foreground 70%'}]"
                "$title[/][/]   ",
                title=tr(title),
            )
            for number, title in enumerate(VIEWS)
            for chosen in (number == self._view,)
        ]
        self.query_one("#views", Static).update(Content.assemble(*parts))

    def _show_page(self) -> None:
        kinds = scores_by_question(self._records)
        if self._asked not in kinds:
            self._asked = next(iter(kinds), None)
        history = self._view == 1 and self._asked is not None
        self.query_one("#page").display = not history
        self.query_one("#history").display = history
        if self._asked is None:
            self.query_one("#scores", Static).update(_emptiness(bool(self._checkpoints)))
        elif history:
            self._draw_history(self._asked)
        else:
            # With room for a scroll bar; the page itself is 0 wide until it has a place again.
            width = max(self.query_one("#results").content_size.width - 3, 20)
            glyphs = glyphs_for()
            if self._view == 2:
                text = run_lines(self._asked, self._runs, self._run.path.name, width, glyphs)
                text = Content.assemble((f"{clean(self._asked.words)}\n\n", "bold"), text)
            else:
                text = self._last_scores(width)
            self.query_one("#scores", Static).update(text)

    def _last_scores(self, width: int) -> Content:
        """Every evaluation of the run, the one made last on top."""
        parts: list[Content] = []
        for record in sorted(self._records, key=lambda record: -record.time):
            limit = tr("all questions")
            if record.job.limit:
                limit = tr("first {count}", count=record.job.limit)
            ago = tr("{time} ago", time=duration(max(time.time() - record.time, 0)))
            facts = f"  {limit} · {record.job.backend} · {ago}"
            step = tr("step {step:,}", step=record.step or 0)
            parts += [
                Content.assemble((step, "bold $accent"), (facts, QUIET)),
                score_lines(record, width, glyphs_for()),
                Content(),
            ]
        return Content("\n").join(parts)

    def _draw_history(self, asked: Asked) -> None:
        measured = scores_by_question(self._records)[asked]
        store = SeriesStore()
        for record, score in measured:
            margin = score.margin or 0.0
            store.append(
                {
                    "step": record.step or 0,
                    "score": score.value,
                    "low": score.value - margin,
                    "high": score.value + margin,
                }
            )
        place = self.query_one("#history")
        if asked != self._drawn:
            self._drawn = asked
            place.remove_children()
            place.mount(_history_chart(asked, measured[-1][1].chance))
        place.query(Chart).last().update_from(store)


def _history_chart(asked: Asked, chance: float | None) -> Chart:
    traces = [
        Trace("low", tr("95 % low"), "grey", "line"),
        Trace("high", tr("95 % high"), "grey", "line"),
        Trace("score", tr("score"), "blue", "marks"),
    ]
    references = {} if chance is None else {tr("chance"): chance}
    return Chart(asked.words, traces, references=references)


def _emptiness(saved: bool) -> Content:
    first = (
        tr("No scores yet: r asks this checkpoint the built-in questions.")
        if saved
        else tr("Nothing is saved yet: c on the dashboard writes a checkpoint of a live run.")
    )
    more = tr("They are scored by lm-eval in a process of its own, and kept in evals/ of the run.")
    return Content.assemble(f"{first}\n", (more, QUIET))


def _converted(checkpoint: Path, target: Path) -> Path:
    from lmm_tui.runs.worker_jobs import convert_in_worker

    convert_in_worker(checkpoint, target, merge=(checkpoint / "adapter").is_dir())
    return target


def _tasks(text: str) -> tuple[str, ...]:
    names = tuple(text.replace(",", " ").split())
    if not names:
        raise ValueError(tr("name one task at least, such as {task}", task=ALL))
    return names


def _whole(text: str) -> int:
    if not text.strip().isdecimal():
        given = text.strip() or tr("nothing")
        raise ValueError(tr("{given}: expected a whole number, 0 or more", given=given))
    return int(text)


def _folder(text: str) -> str | None:
    folder = text.strip()
    if folder and not Path(folder).expanduser().is_dir():
        raise ValueError(tr("{folder}: no such folder", folder=folder))
    return str(Path(folder).expanduser()) if folder else None


if __name__ == "__main__":
    print(_tasks("lmm_sums, lmm_talk"), Setup().job(Path("model")).tasks)
    for wrong in ("", "x"):
        try:
            print(_whole(wrong))
        except ValueError as error:
            print(error)
    assert _whole("12") == 12
    print("=== 自测通过 ===")
