"""Evaluation of a checkpoint of the open run, by lm-eval in a process of its own.

The results are kept in the run and shown by `evaluation_results`. A cancelled evaluation resumes
where it was, since its answers are cached.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message

from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.screens.evaluation_results import EvaluationResults
from lmm_tui.cockpit.screens.evaluation_settings import EvaluationSettings, EvaluationSetup
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs
from lmm_tui.cockpit.widgets.table import Table, TableColumn, titled
from lmm_tui.engine.evaluation.job import EvaluationProgress
from lmm_tui.engine.evaluation.process import Evaluation
from lmm_tui.engine.evaluation.records import Record, file_in_run, read_records, write_record
from lmm_tui.engine.run.checkpoint_names import checkpoint_step, list_checkpoints
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.i18n.language import mark, tr

_COLUMNS = (TableColumn("name", mark("evaluate"), 11), TableColumn("value", "", 14, grows=True))


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
    error: str = ""


class EvaluateScreen(EvaluationSettings):
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
        self._evaluation: Evaluation | None = None
        self._scoring = ""
        self._cancelled = False
        self._records: list[Record] = []

    def compose_body(self) -> ComposeResult:
        with Container(id="evaluation"):
            yield Table(titled(_COLUMNS), "")
            yield EvaluationResults(self._run.path.name, id="results")

    def on_mount(self) -> None:
        self.show_settings()

    def look(self) -> None:
        self.in_background("records", self._read)

    def _read(self) -> RecordsRead:
        folder = self._run.path.parent
        try:
            runs = [path for path in sorted(folder.iterdir()) if (path / "evals").is_dir()]
        except OSError:
            runs = []
        records = {path.name: read_records(RunDir(path)) for path in runs}
        return RecordsRead(records, list_checkpoints(self._run.checkpoints)[::-1])

    def on_records_read(self, message: RecordsRead) -> None:
        self.checkpoints = message.checkpoints
        self._records = message.runs.get(self._run.path.name, [])
        self.query_one(EvaluationResults).show_records(message.runs, saved=bool(self.checkpoints))
        self.show_settings()
        count = len(self._records)
        facts = tr("1 evaluation") if count == 1 else tr("{count} evaluations", count=count)
        self.query_one(ScreenTabs).show(facts, subject=self._run.name)

    def show_settings(self) -> None:
        super().show_settings()
        self.query_one(EvaluationResults).expect(self.expected(self._records))

    # Evaluating

    def action_run(self) -> None:
        checkpoint = self.chosen_checkpoint
        if checkpoint is None:
            self.say_nothing_is_saved()
            return
        setup = replace(self.setup, checkpoint=checkpoint)
        self._cancelled = False
        if self.in_background(
            "evaluate",
            lambda: Evaluated(self._evaluate(setup, checkpoint)),
            refused=lambda why: Evaluated(None, why),
        ):
            self._scoring = tr("step {step:,}", step=checkpoint_step(checkpoint))
            self.query_one(EvaluationResults).show_progress(self._scoring)
        else:
            self.toast(tr("An evaluation is running; S cancels it"), "evaluate", severe=True)

    def _evaluate(self, setup: EvaluationSetup, checkpoint: Path) -> Record:
        try:
            with tempfile.TemporaryDirectory(prefix="lmm-eval-") as scratch:
                model = checkpoint.resolve()
                if setup.backend == "hf":
                    model = _converted(checkpoint, Path(scratch) / "hf")
                self._evaluation = Evaluation(setup.job(model))
                if self._cancelled:
                    self._evaluation.cancel()
                outcome = self._evaluation.outcome(self._report)
        finally:
            self._evaluation = None
        job, step = setup.job(checkpoint.resolve()), checkpoint_step(checkpoint)
        record = Record(time.time(), self._run.name, step, job, outcome)
        write_record(record, file_in_run(record, self._run), self._run)
        return record

    def _report(self, at: EvaluationProgress) -> None:
        self.post_message(Progressed(at))

    def on_progressed(self, message: Progressed) -> None:
        self.query_one(EvaluationResults).show_progress(self._scoring, message.at)

    def on_evaluated(self, message: Evaluated) -> None:
        self._scoring = ""
        self.query_one(EvaluationResults).show_progress("")
        if message.record is not None:
            self.toast(message.record.sentence, mark("evaluated"))
        elif self._cancelled:
            self.toast(tr("Cancelled; v resumes it"), "evaluate")
        else:
            self.toast(message.error, "evaluate", severe=True)
        self.look()

    def action_cancel(self) -> None:
        if self._scoring:
            self._cancel()
        else:
            self.toast(tr("No evaluation is running; v starts one"), "evaluate")

    def _cancel(self) -> None:
        self._cancelled = True
        if (evaluation := self._evaluation) is not None:
            evaluation.cancel()

    def on_unmount(self) -> None:
        self._cancel()

    # Pages

    def action_turn(self, by: int) -> None:
        self.query_one(EvaluationResults).turn(by)

    def action_view(self, number: int) -> None:
        self.query_one(EvaluationResults).open_view(number)

    def action_metric(self, by: int) -> None:
        self.query_one(EvaluationResults).next_metric(by)


def _converted(checkpoint: Path, target: Path) -> Path:
    from lmm_tui.runs.worker_jobs import convert_in_worker

    convert_in_worker(checkpoint, target, merge=(checkpoint / "adapter").is_dir())
    return target


if __name__ == "__main__":
    for column in _COLUMNS:
        print(column)
    print("=== 自测通过 ===")
