"""The input and the results of an evaluation: plain records that cross the process border.

Neither torch nor lm-eval is imported.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lmm_tui.engine.evaluation.missed_questions import MissedQuestion
from lmm_tui.errors import LmmError
from lmm_tui.metrics.values import wilson_interval

Backend = Literal["run", "hf"]
"""Our own decoder, or transformers through lm-eval's HFLM."""


class EvaluateError(LmmError):
    """An evaluation that cannot be carried out as requested."""


@dataclass(frozen=True)
class Job:
    """One evaluation; the same job on the same weights gives the same scores."""

    model: str
    """A checkpoint, a Hugging Face folder or a `.pth` file; for `hf` a Hugging Face folder."""
    tasks: tuple[str, ...]
    backend: Backend = "run"
    device: str = "auto"
    limit: int | None = None
    """Number of questions of each task, from the first; None is all."""
    batch_size: int = 8
    num_fewshot: int | None = None
    """Worked examples before each question; None is the task's default."""
    chat: bool = False
    """Whether questions are formatted by the chat template."""
    data_dir: str | None = None
    """Folder of local files for the tasks of `local_tasks`."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        found = json.loads(text)
        return cls(**found | {"tasks": tuple(found["tasks"])})

    @property
    def key(self) -> str:
        """16 hex digits that identify all that determines the scores, except the weights."""
        settings = [sorted(self.tasks), self.backend, self.limit, self.num_fewshot, self.chat]
        content = json.dumps([*settings, self.data_dir and str(Path(self.data_dir).resolve())])
        return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class EvaluationProgress:
    """Progress in requests; a request is one generated answer or one ranked choice."""

    done: int
    total: int
    remembered: int = 0
    """Of `done`, those answered by an earlier, cancelled evaluation."""
    eta_s: float | None = None


@dataclass(frozen=True)
class Score:
    """One metric of one task."""

    task: str
    metric: str
    """lm-eval's name; with the filter where a task has several: `exact_match,strict-match`."""
    value: float
    stderr: float | None
    chance: float | None
    """The expected value of guessing, known for multiple choice."""
    questions: int
    num_fewshot: int | None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval: Wilson's for a share of the questions, else 1.96 standard errors."""
        if self._is_share:
            return wilson_interval(self.value, self.questions)
        if self.stderr is None:
            return None
        return self.value - 1.96 * self.stderr, self.value + 1.96 * self.stderr

    @property
    def _is_share(self) -> bool:
        """Whether each question is right or wrong, and the value how many of them are right."""
        return (
            self.questions > 0
            and 0 <= self.value <= 1
            and self.metric.startswith(("acc", "exact_match", "em"))
        )


@dataclass(frozen=True)
class EvaluationOutcome:
    scores: tuple[Score, ...]
    truncated: int
    """Requests that were truncated on the left to fit the context."""
    fingerprint: str
    """Of the weights that were evaluated."""
    versions: dict[str, str]
    notes: tuple[str, ...] = ()
    """Sentences about how the weights were read."""
    missed: tuple[MissedQuestion, ...] = ()
    """The first questions of each task that were answered wrongly."""
    seconds: float | None = None
    """That answering took, without opening the model; None where it is not known."""

    @property
    def seconds_a_question(self) -> float | None:
        questions = sum({score.task: score.questions for score in self.scores}.values())
        return self.seconds / questions if self.seconds and questions else None

    @classmethod
    def of(cls, record: dict[str, Any]) -> EvaluationOutcome:
        """From `asdict`, or from a file where NaN and infinity are strings."""
        scores = (Score(**score | {"value": float(score["value"])}) for score in record["scores"])
        notes = tuple(record.get("notes", ()))
        missed = tuple(MissedQuestion(**each) for each in record.get("missed", ()))
        return cls(**record | {"scores": tuple(scores), "notes": notes, "missed": missed})


if __name__ == "__main__":
    job = Job("model", ("lmm_sums", "lmm_choice"), limit=10)
    print(job.key, Score("lmm_choice", "acc", 0.5, 0.1, 0.25, 26, 0).interval)
    assert Job.from_json(job.to_json()) == job
    print("=== 自测通过 ===")
