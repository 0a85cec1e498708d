"""Scores as text tables: of one evaluation, and of a run's evaluations by step.

Each value has its chance level and its 95 % interval, since the score of a few
questions is mostly noise.
"""

from __future__ import annotations

from collections.abc import Sequence

from lmm_tui.engine.evaluation.job import EvaluationOutcome, Score
from lmm_tui.engine.evaluation.records import Record
from lmm_tui.message import Message

_NOTHING = "–"


def outcome_table(outcome: EvaluationOutcome) -> str:
    """One line a score, and notes on weights and truncated prompts."""
    head = ("TASK", "METRIC", "VALUE", "95 %", "CHANCE", "QUESTIONS", "SHOTS")
    rows = [
        (
            score.task,
            score.metric,
            _number(score.value),
            interval_text(score),
            _number(score.chance),
            str(score.questions),
            _NOTHING if score.num_fewshot is None else str(score.num_fewshot),
        )
        for score in outcome.scores
    ]
    table = _table([head, *rows], left=2)
    cut = [_cut_note(outcome.truncated)] if outcome.truncated else []
    return "\n".join([table, *outcome.notes, *cut])


def _cut_note(count: int) -> str:
    return Message("{count} prompts were longer than the context: their start was cut", count=count)


def history_table(records: Sequence[Record]) -> str:
    """One line a score, one column a step; a line has the same questions in every column."""
    steps = sorted({record.step or 0 for record in records})
    lines: dict[tuple[str, ...], dict[int, Score]] = {}
    for record in records:
        for score in record.outcome.scores:
            lines.setdefault(_row_key(record, score), {})[record.step or 0] = score
    head = ("TASK", "METRIC", "QUESTIONS", "CHANCE", *(f"STEP {step}" for step in steps))
    rows = []
    for (task, metric, asked, *_), by_step in sorted(lines.items()):
        chance = _number(next(iter(by_step.values())).chance)
        values = [_with_margin(by_step.get(step)) for step in steps]
        rows.append((task, metric, asked, chance, *values))
    return _table([head, *rows], left=3)


def _row_key(record: Record, score: Score) -> tuple[str, ...]:
    shots = f", {score.num_fewshot} shots" if score.num_fewshot else ""
    chat = ", chat" if record.job.chat else ""
    return score.task, score.metric, f"{score.questions}{shots}{chat}", record.job.data_dir or ""


def _with_margin(score: Score | None) -> str:
    if score is None:
        return _NOTHING
    margin = "" if score.interval is None else f" ({interval_text(score)})"
    return f"{_number(score.value)}{margin}"


def interval_text(score: Score) -> str:
    """Such as `0.000-0.278`, a dash if it is not known."""
    if score.interval is None:
        return _NOTHING
    return "-".join(f"{end:.3f}" for end in score.interval)


def _number(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.4f}" if value < 100 else f"{value:.4g}"


def _table(rows: Sequence[Sequence[str]], left: int) -> str:
    """The first `left` columns are left-aligned, the others right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:<{width}}" if place < left else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


if __name__ == "__main__":
    quiz = Score("lmm_choice", "acc", 0.5, 0.1, 0.375, 26, 0)
    print(outcome_table(EvaluationOutcome((quiz,), 3, "", {})))
    print("=== 自测通过 ===")
