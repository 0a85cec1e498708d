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

from data.prepare import user_cache
from engine.evaluation.job import EvaluateError, Job, Outcome, Progress

_PATIENCE_S = 5.0


def evaluate(
    job: Job, report: Callable[[Progress], None] | None = None, cache: Path | None = None
) -> Outcome:
    """Do a job in a process of its own and wait for it.

    `report` hears how far it is, up to five times a second; what it raises (as well as Ctrl-C)
    ends the evaluation, and is passed on. `cache` (default: `evaluation` in the user's cache)
    keeps the answers of evaluations that were cancelled. Raises EvaluateError where the job
    cannot be done.
    """
    cache = cache or user_cache() / "evaluation"
    with tempfile.TemporaryDirectory(prefix="lmm-eval-") as scratch:
        # -P: a file in the working directory must not pass for a package of lm-eval's.
        command = [sys.executable, "-P", "-m", "engine.evaluation.child"]
        with (Path(scratch) / "stderr").open("w+b") as stderr:
            child = subprocess.Popen(
                [*command, job.to_json(), scratch, str(cache)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                encoding="utf-8",
                # Ctrl-C is ours to handle: the child is ended below.
                start_new_session=True,
            )
            try:
                if (outcome := _listen(child, report)) is not None:
                    return outcome
                child.wait()
                stderr.seek(0)
                raise _failure(stderr.read(), cache / "last-failure.log")
            finally:
                _end(child)


def _listen(
    child: subprocess.Popen[str], report: Callable[[Progress], None] | None
) -> Outcome | None:
    """None where the child ends without a last word."""
    assert child.stdout is not None
    for line in child.stdout:
        [(kind, content)] = json.loads(line).items()
        if kind == "outcome":
            return Outcome.of(content)
        if kind == "refused":
            raise EvaluateError(content)
        if report is not None:
            report(Progress(**content))
    return None


def _failure(printed: bytes, log: Path) -> EvaluateError:
    text = printed.decode("utf-8", "replace").strip()
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(text + "\n", encoding="utf-8")
    last_line = text.rpartition("\n")[2] or "it was killed"
    return EvaluateError(f"the evaluation failed ({last_line}); what it printed is in {log}")


def _end(child: subprocess.Popen[str]) -> None:
    child.terminate()
    try:
        child.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    if child.stdout is not None:
        child.stdout.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        try:
            evaluate(Job("/nowhere", ("lmm_sums",), device="quantum"), print, Path(home))
        except EvaluateError as refusal:
            print(refusal)
    print("=== 自测通过 ===")
