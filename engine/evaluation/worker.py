"""The process that runs lm-eval: `python -m lmm_tui.engine.evaluation.worker JOB SCRATCH CACHE`.

lm-eval seeds all random numbers anew, prints and draws bars; none of that reaches whoever asked.
What it has to say goes to its standard output as JSON lines, one object with one key each:
`progress`, then `outcome` or `refused`. Everything else it prints goes to standard error.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lmm_tui.engine.evaluation.answer_cache import AnswerCache
from lmm_tui.engine.evaluation.hub_access import go_offline, hub_answers
from lmm_tui.engine.evaluation.job import EvaluationOutcome, EvaluationProgress, Job
from lmm_tui.engine.evaluation.local_tasks import needs_hub
from lmm_tui.engine.evaluation.weights_hash import fingerprint
from lmm_tui.errors import LmmError

Report = Callable[[EvaluationProgress], None]

_REPORT_EVERY_S = 0.2


def evaluate_here(job: Job, scratch: Path, cache: Path, report: Report) -> EvaluationOutcome:
    """The outcome of a job, in this process; `scratch` is a folder for this job alone."""
    _prepare_environment(job)
    from lmm_tui.engine.evaluation.models import open_model, truncated, versions

    lm = open_model(job)
    from lm_eval import evaluator

    from lmm_tui.engine.evaluation.scores import scores_of
    from lmm_tui.engine.evaluation.task_index import TaskIndex

    cut_off = _CountCutOff()
    tasks = TaskIndex(job, lm.max_length, scratch, cache)
    weights = fingerprint(Path(job.model))
    started = said = 0.0

    def progress(done: int, remembered: int) -> None:
        nonlocal started, said
        now = time.monotonic()
        started = started or now
        total = tasks.requests()
        if now - said < _REPORT_EVERY_S and done < total:
            return
        said = now
        fresh = done - remembered
        left = (now - started) / fresh * (total - done) if fresh else None
        report(EvaluationProgress(done, total, remembered, left))

    journal_file = cache / "answers" / f"{weights}-{job.key}.jsonl"
    journal = AnswerCache(journal_file, progress)
    journal.listen(lm)
    # It asks git, pip and the driver who they are, for a second and for nobody here.
    evaluator.add_env_info = lambda _: None
    found = evaluator.simple_evaluate(
        lm,
        tasks=list(job.tasks),
        task_manager=tasks.manager,
        num_fewshot=job.num_fewshot,
        limit=job.limit,
        apply_chat_template=job.chat,
    )
    journal.close()
    journal_file.unlink(missing_ok=True)
    return EvaluationOutcome(
        scores=scores_of(found),
        truncated=truncated(lm) + cut_off.count,
        fingerprint=weights,
        versions=versions(job.backend),
    )


def _prepare_environment(job: Job) -> None:
    """Before the libraries that look at it are imported."""
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    if not needs_hub(job) or not hub_answers():
        go_offline()


class _CountCutOff(logging.Handler):
    """Counts what HFLM says of prompts whose beginning it cuts off."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0
        logging.getLogger("lm_eval.models.huggingface").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.count += "runcat" in record.getMessage()


def main(arguments: list[str]) -> int:
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(kind: str, content: Any) -> None:
        print(json.dumps({kind: content}), file=lines, flush=True)

    job, scratch, cache = Job.from_json(arguments[0]), Path(arguments[1]), Path(arguments[2])
    try:
        outcome = evaluate_here(job, scratch, cache, lambda at: say("progress", asdict(at)))
    except LmmError as error:
        say("refused", str(error))
        return 2
    say("outcome", asdict(outcome))
    return 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(sys.argv[1:]))
    counter = _CountCutOff()
    logging.getLogger("lm_eval.models.huggingface").warning("Truncating 3 tokens from the left.")
    assert counter.count == 1
    print(Job("model", ("lmm_sums",)).to_json())
    print("=== 自测通过 ===")
