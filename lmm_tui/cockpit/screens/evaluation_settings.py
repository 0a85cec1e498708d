"""What an evaluation measures: a table of settings, each changed in a dialog."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from textual import on

from lmm_tui.cockpit.screens.base_screen import BaseScreen
from lmm_tui.cockpit.screens.dialogs import AskDialog, Choice, ChoiceDialog
from lmm_tui.cockpit.screens.pick_dialog import PickDialog
from lmm_tui.cockpit.widgets.table import Table, TableRow
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.evaluation.builtin_tasks import ALL, question_count
from lmm_tui.engine.evaluation.flags import DEFAULT_LIMIT
from lmm_tui.engine.evaluation.job import Backend, Job
from lmm_tui.engine.evaluation.records import Record
from lmm_tui.engine.run.checkpoint_names import checkpoint_step
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.number_format import age
from lmm_tui.planning.candidates import candidates, devices
from lmm_tui.terminal.safe_text import clean

_MOST_OFFERED = 9


@dataclass(frozen=True)
class EvaluationSetup:
    """A checkpoint of None is the newest."""

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


class EvaluationSettings(BaseScreen):
    """For a screen with a Table of settings."""

    def __init__(self) -> None:
        super().__init__()
        self.setup = EvaluationSetup()
        self.checkpoints: list[Path] = []
        """Of the run, the newest first."""

    @property
    def chosen_checkpoint(self) -> Path | None:
        return self.setup.checkpoint or next(iter(self.checkpoints), None)

    def expected(self, records: Sequence[Record]) -> str:
        """How many questions will be asked, and how long it takes by the last evaluation."""
        setup = self.setup
        count = question_count(setup.tasks, setup.limit)
        if count is None:
            return tr("how long: known once it runs")
        measured = [
            (record.time, rate)
            for record in records
            if (rate := record.outcome.seconds_a_question) is not None
            and record.job.backend == setup.backend
        ]
        if not measured:
            return tr("{count:,} questions; how long: known once it runs", count=count)
        took = age(max(measured)[1] * count)
        return tr("{count:,} questions, about {time}", count=count, time=took)

    def show_settings(self) -> None:
        rows = [
            TableRow(name, {"name": tr(name), "value": (clean(value), style)})
            for name, (value, style, _) in self._rows().items()
        ]
        self.query_one(Table).show(rows, empty="")

    def _rows(self) -> dict[str, tuple[str, str, Callable[[], None]]]:
        """Of each setting the value, its style, and what changes it."""
        setup, chosen = self.setup, self.chosen_checkpoint
        checkpoint = tr("none yet")
        if chosen:
            newest = setup.checkpoint is None
            checkpoint = tr(
                "step {step:,} (newest)" if newest else "step {step:,}",
                step=checkpoint_step(chosen),
            )
        shots = tr("task default") if setup.shots is None else str(setup.shots)
        backends = {"run": tr("built-in"), "hf": "transformers"}
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
        self.setup = replace(self.setup, **changes)  # type: ignore[arg-type]
        self.show_settings()

    def _ask_checkpoint(self) -> None:
        offered = self.checkpoints[:_MOST_OFFERED]
        if not offered:
            self.say_nothing_is_saved()
            return
        choices = [
            Choice(str(number), str(number), path.name) for number, path in enumerate(offered, 1)
        ]

        def answered(answer: str | None) -> None:
            if answer:
                self._change(checkpoint=offered[int(answer) - 1])

        title = tr("Choose a checkpoint")
        text = tr("The newest ones; `lmm-tui eval --run PATH` takes any.")
        self.app.push_screen(ChoiceDialog(title, text, choices, first="1"), answered)

    def say_nothing_is_saved(self) -> None:
        hint = tr("No checkpoint yet; c on the dashboard saves one")
        self.toast(hint, "evaluate")

    def _ask_backend(self) -> None:
        choices = [
            Choice("run", "r", mark("Built-in decoder")),
            Choice("hf", "h", mark("transformers, on the converted checkpoint")),
        ]

        def answered(answer: str | None) -> None:
            if answer:
                self._change(backend=answer)

        text = tr("Both score the same questions; use the second to verify the first.")
        dialog = ChoiceDialog(tr("backend"), text, choices, first=self.setup.backend)
        self.app.push_screen(dialog, answered)

    def _ask_tasks(self) -> None:
        def taken(names: list[str] | None) -> None:
            if names:
                self._change(tasks=tuple(names))

        dialog = PickDialog(
            tr("tasks"),
            lambda: candidates("eval.tasks", RunConfig()),
            several=True,
            chosen=self.setup.tasks,
            typed=True,
        )
        self.app.push_screen(dialog, taken)

    def _ask_limit(self) -> None:
        text = tr("Questions per task; 0 = all.")
        value = str(self.setup.limit or 0)
        self._ask(tr("limit"), text, value, lambda text: _whole(text) or None, "limit")

    def _ask_shots(self) -> None:
        text = tr("Worked examples before each question; empty = task default.")
        value = "" if self.setup.shots is None else str(self.setup.shots)
        self._ask(
            tr("few-shot"),
            text,
            value,
            lambda text: _whole(text) if text.strip() else None,
            "shots",
        )

    def _ask_data(self) -> None:
        text = tr(
            "Folder with hellaswag.jsonl, arc_easy.jsonl, gsm8k.jsonl or mmlu/<subject>.jsonl; "
            "empty = none."
        )
        self._ask(tr("local data"), text, self.setup.data_dir or "", _folder, "data_dir")

    def _ask_device(self) -> None:
        def taken(names: list[str] | None) -> None:
            if names:
                self._change(device=names[0])

        self.app.push_screen(PickDialog(tr("device"), devices, typed=True), taken)

    def _toggle_chat(self) -> None:
        self._change(chat=not self.setup.chat)

    def _ask(
        self, title: str, text: str, value: str, read: Callable[[str], object], field: str
    ) -> None:
        """Ask for a line and set what `read` makes of it; its ValueError is shown as a refusal."""

        def judge(answer: str) -> str:
            try:
                read(answer)
            except ValueError as error:
                return str(error)
            return ""

        def answered(answer: str | None) -> None:
            if answer is not None:
                self._change(**{field: read(answer)})

        self.app.push_screen(AskDialog(title, text, value, judge), answered)


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
    print(EvaluationSetup().job(Path("model")).tasks)
    try:
        _whole("x")
    except ValueError as error:
        print(error)
    assert _whole("12") == 12
    print("=== 自测通过 ===")
