"""Evaluations of a run's checkpoints while it trains on: started and collected between steps.

Each runs in a process of its own, so a training curve is the same to the bit with and without; the
time that it takes from the training is the machine's. The loop decides when.
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
    """At most one at a time: a checkpoint that comes meanwhile is not evaluated."""

    def __init__(self, run: RunDir, job: Job, cache: Path | None = None) -> None:
        """`job.model` is of no matter: it becomes the checkpoint that is evaluated."""
        self._run = run
        self._job = job
        self._cache = cache
        self._running: Evaluation | None = None
        self._thread: threading.Thread | None = None
        self._ended: SimpleQueue[Record | EvaluateError] = SimpleQueue()

    def start(self, checkpoint: Path, tasks: tuple[str, ...] = ()) -> bool:
        """Begin with a checkpoint of the run, on the job's tasks or on others; False where the
        last one is still evaluated."""
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
        """What has ended since the last call; records are in the run's `evals/` by then."""
        return [self._ended.get() for _ in range(self._ended.qsize())]

    def close(self, patience_s: float = 0.0) -> None:
        """Wait so long for what is under way, then cancel it."""
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
            write_record(record, file_in_run(record, self._run))
        except EvaluateError as error:
            self._ended.put(error)
        else:
            self._ended.put(record)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as home:
        demo = RunDir(Path(home) / "demo")
        beside = BackgroundEvaluation(demo, Job("", ("lmm_sums",)), Path(home))
        assert beside.start(demo.checkpoints / "step-000000001")
        assert not beside.start(demo.checkpoints / "step-000000002")
        beside.close()
        [ended] = beside.collect()
        print(ended)
        assert isinstance(ended, EvaluateError)
    print("=== 自测通过 ===")
