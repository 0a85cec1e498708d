"""The questions that a model got wrong, from the samples that lm-eval keeps of each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_A_TASK = 20
_LONGEST = 400
"""Characters that are kept of a text; of a question the last ones, behind worked examples."""
_METRICS = ("exact_match", "acc", "em")


@dataclass(frozen=True)
class MissedQuestion:
    task: str
    question: str
    expected: str
    given: str


def missed_of(found: Mapping[str, Any]) -> tuple[MissedQuestion, ...]:
    """The first ones of each task, in lm-eval's order; of tasks without right or wrong none."""
    missed: list[MissedQuestion] = []
    for task, samples in found["samples"].items():
        wrong = [sample for sample in samples if _is_wrong(sample)]
        missed += [_missed(task, sample) for sample in wrong[:MOST_A_TASK]]
    return tuple(missed)


def _is_wrong(sample: Mapping[str, Any]) -> bool:
    value = next((sample[name] for name in _METRICS if name in sample), None)
    return isinstance(value, int | float) and value == 0


def _missed(task: str, sample: Mapping[str, Any]) -> MissedQuestion:
    asked = [_argument(each) for each in _values(sample["arguments"])]
    question, expected = asked[0][0], str(sample["target"])
    responses = list(sample["filtered_resps"])
    if len(responses) > 1 and len(responses) == len(asked):
        best = max(range(len(responses)), key=lambda at: _log_likelihood(responses[at]))
        given = asked[best][1]
        if expected.isdigit() and int(expected) < len(asked):
            expected = asked[int(expected)][1]
    else:
        given = str(responses[0]) if responses else ""
    return MissedQuestion(
        task,
        question.strip()[-_LONGEST:],
        expected.strip()[:_LONGEST],
        given.strip()[:_LONGEST],
    )


def _values(arguments: Any) -> list[Any]:
    return list(arguments.values()) if isinstance(arguments, Mapping) else list(arguments)


def _argument(each: Any) -> tuple[str, str]:
    """The context of a request and its continuation, if it has one."""
    parts = _values(each)
    return str(parts[0]), str(parts[1]) if len(parts) > 1 else ""


def _log_likelihood(response: Any) -> float:
    value = response[0] if isinstance(response, Sequence) else response
    return float(value)


if __name__ == "__main__":
    choices = {
        "arguments": [("2 + 2 =", " 4"), ("2 + 2 =", " 5")],
        "filtered_resps": [(-2.0, False), (-1.0, True)],
        "target": 0,
        "acc": 0.0,
    }
    wrong = missed_of({"samples": {"quiz": [choices, {**choices, "acc": 1.0}]}})
    print(*wrong)
    assert [(one.expected, one.given) for one in wrong] == [("4", "5")]
    print("=== 自测通过 ===")
