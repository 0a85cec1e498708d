"""Scores from the results of lm-eval, with the chance level of multiple choice."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from lmm_tui.engine.evaluation.job import Score


def scores_of(found: Mapping[str, Any]) -> tuple[Score, ...]:
    """One score a task, metric and filter, in lm-eval's order; a group sums their questions."""
    chance_of = {task: _chance(samples) for task, samples in found["samples"].items()}
    scores = []
    for task, values in found["results"].items():
        leaves = _leaves(task, found.get("group_subtasks", {}))
        sizes = [found["n-samples"][leaf]["effective"] for leaf in leaves]
        filters = Counter(key.partition(",")[0] for key in values)
        for key, value in values.items():
            name, comma, kept = key.partition(",")
            if not comma or name.endswith("_stderr") or not isinstance(value, int | float):
                continue
            chances = [chance_of[leaf] for leaf in leaves] if name.startswith("acc") else []
            scores.append(
                Score(
                    task=task,
                    metric=key if filters[name] > 1 else name,
                    value=float(value),
                    stderr=_number(values.get(f"{name}_stderr,{kept}")),
                    chance=_mean(chances, sizes) if chances else None,
                    questions=sum(sizes),
                    num_fewshot=found["n-shot"].get(task),
                )
            )
    return tuple(scores)


def _leaves(name: str, members: Mapping[str, list[str]]) -> list[str]:
    if not members.get(name):
        return [name]
    return [leaf for member in members[name] for leaf in _leaves(member, members)]


def _chance(samples: Sequence[Mapping[str, Any]]) -> float:
    """The accuracy of guessing: the mean of 1 / number of choices.

    Only meaningful for multiple choice, where each choice is one response.
    """
    return fmean(1 / len(sample["filtered_resps"]) for sample in samples)


def _mean(values: Sequence[float], sizes: Sequence[int]) -> float:
    return sum(v * n for v, n in zip(values, sizes, strict=True)) / sum(sizes)


def _number(value: Any) -> float | None:
    """None for lm-eval's "N/A"."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


if __name__ == "__main__":
    demo = {
        "results": {"quiz": {"alias": "quiz", "acc,none": 0.5, "acc_stderr,none": 0.1}},
        "samples": {"quiz": [{"filtered_resps": [0] * 4}, {"filtered_resps": [0] * 2}]},
        "n-samples": {"quiz": {"effective": 2}},
        "n-shot": {"quiz": 0},
    }
    print(scores_of(demo))
    print("=== 自测通过 ===")
