"""One call of the evaluation command, from its flags to its output text.

Shared by `lmm-tui eval` and `engine/evaluate.py`, which print the text.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lmm_tui.engine.evaluation.builtin_tasks import ALL, write_tasks
from lmm_tui.engine.evaluation.flags import DEFAULT_LIMIT, SMOKE_LIMIT
from lmm_tui.engine.evaluation.job import Backend, EvaluateError, EvaluationProgress, Job
from lmm_tui.engine.evaluation.model_source import EvaluatedModel, find_evaluated_model
from lmm_tui.engine.evaluation.process import evaluate
from lmm_tui.engine.evaluation.records import (
    Record,
    file_in_run,
    read_records,
    records_json,
    write_record,
)
from lmm_tui.engine.evaluation.report import history_table, outcome_table
from lmm_tui.engine.evaluation.smoke_model import make_model
from lmm_tui.engine.run.find_run import find_run
from lmm_tui.message import Message


@dataclass(frozen=True)
class EvaluationRequest:
    """The values of `evaluation_options`, one field a flag."""

    run: str | None
    model_path: str | None
    backend: Backend | None
    tasks: tuple[str, ...]
    limit: int | None
    batch_size: int
    num_fewshot: int | None
    device: str
    chat: bool
    data_dir: Path | None
    output: Path | None
    smoke: bool
    history: str | None
    write_tasks: Path | None
    runs_dir: Path
    as_json: bool = False

    def answer(self, report: Callable[[EvaluationProgress], None]) -> str:
        """Carry out the request and return the text to print: JSON where that is asked for.

        Raises LmmError.
        """
        if self.as_json and self.write_tasks is not None:
            raise EvaluateError("--json: --write-tasks has nothing to print; leave it out")
        if self.write_tasks is not None:
            return self._write_tasks(self.write_tasks)
        if self.history is not None:
            return self._show_history(self.history)
        if self.output is not None and not self.output.parent.is_dir():
            raise EvaluateError(
                "--output {output}: there is no folder {parent}; make it first",
                output=self.output,
                parent=self.output.parent,
            )
        with tempfile.TemporaryDirectory(prefix="lmm-smoke-") as scratch:
            return self._evaluate(self._find_model(Path(scratch)), report)

    def _evaluate(
        self, evaluated: EvaluatedModel, report: Callable[[EvaluationProgress], None]
    ) -> str:
        job = self._job(evaluated)
        outcome = evaluate(job, report)
        run = evaluated.run
        record = Record(time.time(), run.name if run else "", evaluated.step, job, outcome)
        files = [file_in_run(record, run)] if run else []
        files += [self.output] if self.output else []
        for file in files:
            write_record(record, file, None if file == self.output else run)
        if self.as_json:
            return records_json([record])
        asked = Message(
            "the first {limit} questions of each task" if job.limit else "all questions",
            limit=job.limit,
        )
        model: str = _from_here(evaluated.model)
        if run:
            model = Message("{model}, step {step}", model=model, step=evaluated.step)
        asked = Message("{model}: {asked}", model=model, asked=asked)
        if files:
            kept = [_from_here(file) for file in files]
            asked = Message("{asked}; kept in {files}", asked=asked, files=kept)
        return Message("{table}\n{asked}", table=outcome_table(outcome), asked=asked)

    def _job(self, evaluated: EvaluatedModel) -> Job:
        default = SMOKE_LIMIT if self.smoke else DEFAULT_LIMIT
        return Job(
            model=str(evaluated.model),
            tasks=self.tasks or (ALL,),
            backend=self.backend or ("hf" if self.model_path else "run"),
            device=self.device,
            limit=(default if self.limit is None else self.limit) or None,
            batch_size=self.batch_size,
            num_fewshot=self.num_fewshot,
            chat=self.chat,
            data_dir=None if self.data_dir is None else str(self.data_dir),
        )

    def _find_model(self, scratch: Path) -> EvaluatedModel:
        if self.run and self.model_path:
            raise EvaluateError("--run and --model-path both name a model; give one of them")
        if self.model_path:
            return EvaluatedModel(Path(self.model_path))
        if self.smoke and self.run is None:
            return EvaluatedModel(make_model(scratch))
        if self.backend == "hf":
            raise EvaluateError(
                "--backend hf reads a Hugging Face folder; give it as --model-path "
                "(`lmm-tui convert RUN DIR` makes one)"
            )
        return find_evaluated_model(self.run, self.runs_dir)

    def _show_history(self, name: str) -> str:
        run = find_run(name, self.runs_dir)
        records = read_records(run)
        if not records:
            raise EvaluateError(
                "{evals}: nothing is kept of this run; `lmm-tui eval --run {name}` evaluates it",
                evals=run.evals,
                name=run.name,
            )
        return records_json(records) if self.as_json else history_table(records)

    @staticmethod
    def _write_tasks(folder: Path) -> str:
        if folder.exists():
            raise EvaluateError("{folder}: exists already; give a new folder", folder=folder)
        write_tasks(folder)
        return Message(
            "{folder}: run them by `lm_eval --include_path {folder} --tasks {all}`",
            folder=folder,
            all=ALL,
        )


def _from_here(path: Path) -> str:
    """The path relative to the working directory if it is inside it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


if __name__ == "__main__":
    nothing = (None, None, None, (), None, 8, None, "auto", False, None, None, False)
    with tempfile.TemporaryDirectory() as home:
        made = EvaluationRequest(*nothing, None, Path(home) / "tasks", Path(home)).answer(print)
        print(made.removeprefix(home))
    print("=== 自测通过 ===")
