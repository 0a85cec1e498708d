"""Evaluations of a run's checkpoints while training continues, started and collected between steps.

Each runs in a worker process: the training curve is bit-identical with and without it, but both
share the machine.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

from lmm_tui.engine.evaluation.job import EvaluateError, Job
from lmm_tui.engine.evaluation.process import Evaluation
from lmm_tui.engine.evaluation.records import Record, file_in_run, write_record
from lmm_tui.engine.run.checkpoint_names import checkpoint_step
from lmm_tui.engine.run.run_dir import RunDir


class BackgroundEvaluation:
    """Runs at most one evaluation at a time."""

    def __init__(self, run: RunDir, job: Job, cache: Path | None = None) -> None:
        """`job.model` is ignored: each evaluation replaces it by the checkpoint."""
        self._run = run
        self._job = job
        self._cache = cache
        self._running: Evaluation | None = None
        self._thread: threading.Thread | None = None
        self._results: SimpleQueue[Record | EvaluateError] = SimpleQueue()

    def start(self, checkpoint: Path, tasks: tuple[str, ...] = ()) -> bool:
        """Start evaluating a checkpoint on `tasks`, by default the job's; False if the previous
        evaluation is still running."""
        if self._thread is not None and self._thread.is_alive():
            return False
        job = replace(self._job, model=str(checkpoint.resolve()), tasks=tasks or self._job.tasks)
        self._running = Evaluation(job, self._cache)
        self._thread = threading.Thread(
            target=self._wait, args=(self._running, job), name="evaluation", daemon=True
        )
        self._thread.start()
        return True

    def collect(self) -> list[Record | EvaluateError]:
        """The results since the last call; records are already written to the run's `evals/`."""
        return [self._results.get() for _ in range(self._results.qsize())]

    def close(self, patience_s: float = 0.0) -> None:
        """Wait up to `patience_s` for a running evaluation, then cancel it."""
        if self._thread is None or self._running is None:
            return
        self._thread.join(patience_s)
        if self._thread.is_alive():
            self._running.cancel()
            self._thread.join()

    def _wait(self, running: Evaluation, job: Job) -> None:
        try:
            outcome = running.outcome()
            step = checkpoint_step(Path(job.model))
            record = Record(time.time(), self._run.name, step, job, outcome)
            write_record(record, file_in_run(record, self._run), self._run)
        except EvaluateError as error:
            self._results.put(error)
        else:
            self._results.put(record)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as home:
        evaluations = BackgroundEvaluation(RunDir(home), Job("", ("lmm_sums",)), Path(home))
        evaluations.start(Path("step-000000001"))
        evaluations.close()
        print(evaluations.collect())
    print("=== 自测通过 ===")
