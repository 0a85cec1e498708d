"""The worker that runs lm-eval: `python -m lmm_tui.engine.evaluation.worker JOB SCRATCH CACHE`.

lm-eval reseeds all random generators, prints and draws progress bars, which must not affect the
caller. The worker writes JSON lines to standard output, one object with one key each: `progress`,
then `outcome` or `refused`. Everything else that is printed goes to standard error.
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

from lmm_tui.data.preparation.cache import hold_shared
from lmm_tui.engine.evaluation.answer_cache import AnswerCache
from lmm_tui.engine.evaluation.hub_access import go_offline, hub_answers
from lmm_tui.engine.evaluation.job import EvaluationOutcome, EvaluationProgress, Job
from lmm_tui.engine.evaluation.local_tasks import needs_hub
from lmm_tui.engine.evaluation.weights_hash import fingerprint
from lmm_tui.errors import LmmError
from lmm_tui.message import with_parts

Report = Callable[[EvaluationProgress], None]

_REPORT_EVERY_S = 0.2


def evaluate_here(job: Job, scratch: Path, cache: Path, report: Report) -> EvaluationOutcome:
    """Run a job in this process; `scratch` is an empty folder for its files."""
    _prepare_environment(job)
    cache.mkdir(parents=True, exist_ok=True)
    while (lease := hold_shared(cache)) is None:
        time.sleep(_REPORT_EVERY_S)
    from lmm_tui.engine.evaluation.open_model import notes, open_model, truncated, versions

    lm = open_model(job)
    from lm_eval import evaluator

    from lmm_tui.engine.evaluation.missed_questions import missed_of
    from lmm_tui.engine.evaluation.scores import scores_of
    from lmm_tui.engine.evaluation.task_index import TaskIndex

    truncations = _TruncationCounter()
    tasks = TaskIndex(job, lm.max_length, scratch, cache)
    weights = fingerprint(Path(job.model))
    started = last_report = 0.0
    whole_s: float | None = None

    def progress(done: int, cached: int) -> None:
        nonlocal started, last_report, whole_s
        now = time.monotonic()
        started = started or now
        total = tasks.requests()
        whole_s = (now - started) / (done - cached) * total if done > cached else None
        if now - last_report < _REPORT_EVERY_S and done < total:
            return
        last_report = now
        fresh = done - cached
        left = (now - started) / fresh * (total - done) if fresh else None
        report(EvaluationProgress(done, total, cached, left))

    answers_file = cache / "answers" / f"{weights}-{job.key}.jsonl"
    answers = AnswerCache(answers_file, progress)
    answers.attach(lm)
    # It queries git, pip and the driver, which takes a second; the result is not used.
    evaluator.add_env_info = lambda _: None
    found = evaluator.simple_evaluate(
        lm,
        tasks=list(job.tasks),
        task_manager=tasks.manager,
        num_fewshot=job.num_fewshot,
        limit=job.limit,
        apply_chat_template=job.chat,
    )
    answers.close()
    answers_file.unlink(missing_ok=True)
    lease.close()
    return EvaluationOutcome(
        scores=scores_of(found),
        missed=missed_of(found),
        truncated=truncated(lm) + truncations.count,
        fingerprint=weights,
        versions=versions(job.backend),
        notes=notes(lm),
        seconds=whole_s,
    )


def _prepare_environment(job: Job) -> None:
    """Set environment variables before the libraries that read them are imported."""
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    if not needs_hub(job) or not hub_answers():
        go_offline()


class _TruncationCounter(logging.Handler):
    """Counts HFLM's warnings about truncated prompts."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0
        logging.getLogger("lm_eval.models.huggingface").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.count += "runcat" in record.getMessage()


def main(arguments: list[str]) -> int:
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(kind: str, content: Any) -> None:
        print(json.dumps(with_parts({kind: content})), file=lines, flush=True)

    job, scratch, cache = Job.from_json(arguments[0]), Path(arguments[1]), Path(arguments[2])
    try:
        outcome = evaluate_here(job, scratch, cache, lambda at: send("progress", asdict(at)))
    except LmmError as error:
        send("refused", str(error))
        return 2
    send("outcome", asdict(outcome))
    return 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(sys.argv[1:]))
    counter = _TruncationCounter()
    logging.getLogger("lm_eval.models.huggingface").warning("Truncating 3 tokens from the left.")
    print(counter.count)
    assert counter.count == 1
    print("=== 自测通过 ===")
