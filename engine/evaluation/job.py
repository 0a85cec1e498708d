"""What is asked of an evaluation, and what comes back: plain records that cross a process border.

It knows no torch and no lm-eval.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lmm_tui.errors import LmmError

Backend = Literal["run", "hf"]
"""Our own decoder, or transformers through lm-eval's HFLM."""


class EvaluateError(LmmError):
    """An evaluation that cannot be done as asked."""


@dataclass(frozen=True)
class Job:
    """One evaluation; the same job on the same weights gives the same scores."""

    model: str
    """A checkpoint, a Hugging Face folder or a `.pth` file; for `hf` a Hugging Face folder."""
    tasks: tuple[str, ...]
    backend: Backend = "run"
    device: str = "auto"
    limit: int | None = None
    """The first so many questions of each task; None is all."""
    batch_size: int = 8
    num_fewshot: int | None = None
    """Worked examples before each question; None is what the task says."""
    chat: bool = False
    """Questions are asked in the chat template."""
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
        """16 hex digits of what the scores follow from, but for the weights."""
        asked = [sorted(self.tasks), self.backend, self.limit, self.num_fewshot, self.chat]
        content = json.dumps([*asked, self.data_dir and str(Path(self.data_dir).resolve())])
        return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class EvaluationProgress:
    """How far an evaluation is; a request is one answer to write or one choice to weigh."""

    done: int
    total: int
    remembered: int = 0
    """Of `done`, those that an earlier, cancelled evaluation had answered."""
    eta_s: float | None = None


@dataclass(frozen=True)
class Score:
    """One number of one task."""

    task: str
    metric: str
    """lm-eval's name; with the filter where a task has several: `exact_match,strict-match`."""
    value: float
    stderr: float | None
    chance: float | None
    """What guessing gives, known for choices between answers."""
    questions: int
    num_fewshot: int | None

    @property
    def margin(self) -> float | None:
        """Half the width of the 95 % interval, 1.96 standard errors."""
        return None if self.stderr is None else 1.96 * self.stderr


@dataclass(frozen=True)
class EvaluationOutcome:
    scores: tuple[Score, ...]
    truncated: int
    """Requests whose beginning was cut off to fit the model's context."""
    fingerprint: str
    """Of the weights that were evaluated."""
    versions: dict[str, str]

    @classmethod
    def of(cls, record: dict[str, Any]) -> EvaluationOutcome:
        """Back from `asdict`, or from a file that spells NaN and infinity as words."""
        scores = (Score(**score | {"value": float(score["value"])}) for score in record["scores"])
        return cls(**record | {"scores": tuple(scores)})


if __name__ == "__main__":
    job = Job("model", ("lmm_sums", "lmm_choice"), limit=10)
    assert Job.from_json(job.to_json()) == job
    score = Score("lmm_choice", "acc", 0.5, 0.1, 0.25, 26, 0)
    outcome = EvaluationOutcome((score,), 0, "", {})
    assert EvaluationOutcome.of(asdict(outcome)) == outcome
    print(job.key, f"{score.value:.3f} ± {score.margin:.3f}")
    print("=== 自测通过 ===")
