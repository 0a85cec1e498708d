"""Stored evaluations: one JSON file each in the run's `evals/`.

Repeating a job on the same checkpoint replaces its file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lmm_tui.engine.evaluation.job import EvaluateError, EvaluationOutcome, Job
from lmm_tui.engine.run.checkpoint_names import checkpoint_name
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.guarded_files import SHARED, list_folder, make_folder, read_bytes, replace_text
from lmm_tui.message import os_reason
from lmm_tui.metrics.values import strict

FORMAT = 1


@dataclass(frozen=True)
class Record:
    time: float
    """Unix seconds."""
    run: str
    step: int | None
    job: Job
    outcome: EvaluationOutcome
    format: int = FORMAT

    @property
    def sentence(self) -> str:
        """The scores on one line."""
        scores = (
            f"{score.task} {score.metric} {score.value:.3f}"
            + (f" ({score.interval[0]:.3f}-{score.interval[1]:.3f})" if score.interval else "")
            for score in self.outcome.scores
        )
        return f"step {self.step}: " + ", ".join(scores)


def records_json(records: Sequence[Record]) -> str:
    """A JSON list of records, each as in its file; what is no ASCII is escaped, for a terminal."""
    found = [strict(asdict(record)) for record in records]
    return json.dumps(found, indent=1, allow_nan=False)


def write_record(record: Record, file: Path, run: RunDir | None = None) -> None:
    """Write the record as one JSON object, atomically: a file in `run`, or one the user named."""
    text = json.dumps(strict(asdict(record)), indent=1, ensure_ascii=False, allow_nan=False)
    try:
        if run is None:
            replace_text(file, text + "\n", mode=SHARED)
        else:
            make_folder(file.parent, run.path)
            replace_text(file, text + "\n", run.path)
    except OSError as error:
        raise EvaluateError(
            "{file}: cannot be written ({error})", file=file, error=os_reason(error)
        ) from None


def file_in_run(record: Record, run: RunDir) -> Path:
    """The file of a record of a run's checkpoint."""
    return run.evals / f"{checkpoint_name(record.step or 0)}-{record.job.key}.json"


def read_records(run: RunDir) -> list[Record]:
    """The readable records of a run, sorted by step."""
    found = []
    try:
        names = sorted(list_folder(run.evals, run.path))
    except OSError:
        return []
    for name in names:
        if not (name.startswith("step-") and name.endswith(".json")):
            continue
        try:
            found.append(_record(json.loads(read_bytes(run.evals / name, run.path))))
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            continue
    return found


def _record(content: dict[str, Any]) -> Record:
    job = Job.from_json(json.dumps(content["job"]))
    return Record(**content | {"job": job, "outcome": EvaluationOutcome.of(content["outcome"])})


if __name__ == "__main__":
    import tempfile

    kept = Record(0.0, "demo", 7, Job("m", ("lmm_sums",)), EvaluationOutcome((), 0, "", {}))
    with tempfile.TemporaryDirectory() as scratch:
        write_record(kept, file_in_run(kept, RunDir(scratch)), RunDir(scratch))
        print(read_records(RunDir(scratch)))
    print("=== 自测通过 ===")
