"""An evaluation in a worker process, from its start to its outcome.

The caller's random state, models and terminal are not touched, and neither torch nor lm-eval is
imported. An evaluation that was cancelled resumes when it is started again.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from lmm_tui.child_process import HUB_SECRETS, start_python
from lmm_tui.engine.evaluation.job import EvaluateError, EvaluationOutcome, EvaluationProgress, Job
from lmm_tui.guarded_files import make_private, replace_text
from lmm_tui.message import Message, with_messages
from lmm_tui.user_folders import user_cache

_TERMINATE_S = 5.0

Report = Callable[[EvaluationProgress], None]


def evaluate(
    job: Job, report: Report | None = None, cache: Path | None = None
) -> EvaluationOutcome:
    """Run a job in a worker process and wait for it.

    `report` is called up to five times a second; an exception from it (or Ctrl-C) ends the
    evaluation and propagates. `cache` (default: `evaluation` in the user's cache) keeps the
    answers of cancelled evaluations. Raises EvaluateError if the job fails.
    """
    return Evaluation(job, cache).outcome(report)


class Evaluation:
    """A running evaluation; `outcome` must be called, it also cleans up."""

    def __init__(self, job: Job, cache: Path | None = None) -> None:
        self._cache = cache or user_cache() / "evaluation"
        self._scratch = tempfile.TemporaryDirectory(prefix="lmm-eval-")
        self._stderr = (Path(self._scratch.name) / "stderr").open("w+b")
        self._cancelled = False
        arguments = [job.to_json(), self._scratch.name, str(self._cache)]
        self._worker = start_python(
            ["-m", "lmm_tui.engine.evaluation.worker", *arguments],
            secrets=HUB_SECRETS,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )

    def outcome(self, report: Report | None = None) -> EvaluationOutcome:
        """Wait for the worker; `report` and errors as in `evaluate`."""
        try:
            if (found := self._read_results(report)) is not None:
                return found
            if self._cancelled:
                raise EvaluateError("the evaluation was cancelled")
            self._worker.wait()
            self._stderr.seek(0)
            raise _failure(self._stderr.read(), self._cache / "last-failure.log")
        finally:
            self._close()

    def cancel(self) -> None:
        """End the worker, from any thread; `outcome` then raises EvaluateError."""
        self._cancelled = True
        self._worker.terminate()

    def _read_results(self, report: Report | None) -> EvaluationOutcome | None:
        """None if the worker exits without a result."""
        assert self._worker.stdout is not None
        for line in self._worker.stdout:
            [(kind, content)] = with_messages(json.loads(line)).items()
            if kind == "outcome":
                return EvaluationOutcome.of(content)
            if kind == "refused":
                raise EvaluateError(content)
            if report is not None:
                report(EvaluationProgress(**content))
        return None

    def _close(self) -> None:
        self._worker.terminate()
        try:
            self._worker.wait(_TERMINATE_S)
        except subprocess.TimeoutExpired:
            self._worker.kill()
            self._worker.wait()
        assert self._worker.stdout is not None
        self._worker.stdout.close()
        self._stderr.close()
        self._scratch.cleanup()


def _failure(stderr: bytes, log: Path) -> EvaluateError:
    text = stderr.decode("utf-8", "replace").strip()
    make_private(log.parent)
    replace_text(log, text + "\n")
    last_line = text.rpartition("\n")[2] or Message("it was killed")
    return EvaluateError(
        "the evaluation failed ({last_line}); what it printed is in {log}",
        last_line=last_line,
        log=log,
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        kept = Path(home) / "last-failure.log"
        print(_failure(b"Traceback\nMemoryError: no room", kept))
        assert kept.read_text() == "Traceback\nMemoryError: no room\n"
    print("=== 自测通过 ===")
