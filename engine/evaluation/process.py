"""The door to an evaluation: starts the process that does it, and hears what it says.

Whoever asks keeps its random numbers, its models and its terminal; what is asked again after a
cancel goes on where it was. It knows no torch and no lm-eval.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from lmm_tui.data.preparation.prepare import user_cache
from lmm_tui.engine.evaluation.job import EvaluateError, EvaluationOutcome, EvaluationProgress, Job

_PATIENCE_S = 5.0


Report = Callable[[EvaluationProgress], None]


def evaluate(
    job: Job, report: Report | None = None, cache: Path | None = None
) -> EvaluationOutcome:
    """Do a job in a process of its own and wait for it.

    `report` hears how far it is, up to five times a second; what it raises (as well as Ctrl-C)
    ends the evaluation, and is passed on. `cache` (default: `evaluation` in the user's cache)
    keeps the answers of evaluations that were cancelled. Raises EvaluateError where the job
    cannot be done.
    """
    return Evaluation(job, cache).outcome(report)


class Evaluation:
    """One that is under way; somebody must wait for its `outcome`, which also tidies up."""

    def __init__(self, job: Job, cache: Path | None = None) -> None:
        self._cache = cache or user_cache() / "evaluation"
        self._scratch = tempfile.TemporaryDirectory(prefix="lmm-eval-")
        self._printed = (Path(self._scratch.name) / "stderr").open("w+b")
        self._cancelled = False
        # -P: a file in the working directory must not pass for a package of lm-eval's.
        command = [sys.executable, "-P", "-m", "lmm_tui.engine.evaluation.worker"]
        self._child = subprocess.Popen(
            [*command, job.to_json(), self._scratch.name, str(self._cache)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            text=True,
            encoding="utf-8",
            # Ctrl-C is for whoever waits, who then ends the child.
            start_new_session=True,
        )

    def outcome(self, report: Report | None = None) -> EvaluationOutcome:
        """Wait for it; as `evaluate`."""
        try:
            if (found := self._listen(report)) is not None:
                return found
            if self._cancelled:
                raise EvaluateError("the evaluation was cancelled")
            self._child.wait()
            self._printed.seek(0)
            raise _failure(self._printed.read(), self._cache / "last-failure.log")
        finally:
            self._close()

    def cancel(self) -> None:
        """End it, from any thread: `outcome` then raises EvaluateError."""
        self._cancelled = True
        self._child.terminate()

    def _listen(self, report: Report | None) -> EvaluationOutcome | None:
        """None where the child ends without a last word."""
        assert self._child.stdout is not None
        for line in self._child.stdout:
            [(kind, content)] = json.loads(line).items()
            if kind == "outcome":
                return EvaluationOutcome.of(content)
            if kind == "refused":
                raise EvaluateError(content)
            if report is not None:
                report(EvaluationProgress(**content))
        return None

    def _close(self) -> None:
        self._child.terminate()
        try:
            self._child.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        assert self._child.stdout is not None
        self._child.stdout.close()
        self._printed.close()
        self._scratch.cleanup()


def _failure(printed: bytes, log: Path) -> EvaluateError:
    text = printed.decode("utf-8", "replace").strip()
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(text + "\n", encoding="utf-8")
    last_line = text.rpartition("\n")[2] or "it was killed"
    return EvaluateError(f"the evaluation failed ({last_line}); what it printed is in {log}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        try:
            evaluate(Job("/nowhere", ("lmm_sums",), device="quantum"), print, Path(home))
        except EvaluateError as refusal:
            print(refusal)
    print("=== 自测通过 ===")
