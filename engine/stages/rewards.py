"""Rewards of GRPO: functions that score a completion, and the scores of a step.

The built-in rewards check a completion against the right answer, its form and its length;
`reward_loading` finds these and others by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lmm_tui.errors import LmmError
from lmm_tui.message import Message

MOST_FAILURES = 0.1
"""The share of a step's completions that a reward may fail on."""

_TARGET_TOKENS = 64


class RewardError(LmmError):
    """A reward that does not exist, or that fails too often."""


@dataclass(frozen=True)
class Sample:
    """A completion to score."""

    prompt: str
    completion: str
    """Without the token that ended it."""
    answer: str | None
    """The right answer, where the prompt comes with one."""
    tokens: int
    """Of the completion, the one that ended it included."""
    ended: bool
    """Whether the model ended it, or the limit of tokens did."""


@dataclass(frozen=True)
class Reward:
    name: str
    function: Callable[[Sample], float]


@dataclass(frozen=True)
class Scores:
    """None stands for a completion on which a reward failed."""

    totals: list[float | None]
    """The weighted sum of a completion's rewards."""
    by_reward: dict[str, list[float | None]]
    """The unweighted rewards under their names."""
    failures: int
    """Completions without a total."""
    first_failure: str
    """Which reward failed first and how, for a log; empty where none did."""


def score(rewards: Sequence[Reward], weights: Sequence[float], samples: Sequence[Sample]) -> Scores:
    """Score the samples of a step; there is one weight per reward.

    Where a reward raises, or returns anything but a finite number, the sample has no total. Raises
    RewardError where that happens to more than a tenth of the samples.
    """
    by_reward: dict[str, list[float | None]] = {}
    first_failure = ""
    for reward in rewards:
        values = by_reward[reward.name] = []
        for sample in samples:
            try:
                values.append(_finite(reward.function(sample)))
            except Exception as error:
                values.append(None)
                first_failure = first_failure or f"{reward.name!r} with {one_line(error)}"
    totals = [_total(weights, values) for values in zip(*by_reward.values(), strict=True)]
    failures = totals.count(None)
    if failures > MOST_FAILURES * len(samples):
        raise RewardError(
            "rewards failed on {failures} of {samples} answers, first "
            "{first_failure}; mend the reward or leave it out",
            failures=failures,
            samples=len(samples),
            first_failure=first_failure,
        )
    return Scores(totals, by_reward, failures, first_failure)


def exact(sample: Sample) -> float:
    """1 where the completion is the right answer and nothing else, but for space around it."""
    if sample.answer is None:
        raise ValueError(Message("the prompt comes without an answer"))
    return float(sample.completion.strip() == sample.answer.strip())


def well_formed(sample: Sample) -> float:
    """0 if empty; else a half for ending by itself, and a half for being one line."""
    text = sample.completion.strip()
    return (sample.ended + ("\n" not in text)) / 2 if text else 0.0


def short(sample: Sample, target: int = _TARGET_TOKENS) -> float:
    """0 up to `target` tokens, then falling to -1 at twice as many.

    The soft overlong punishment of DAPO (arXiv 2503.14476, equation 13).
    """
    return min(0.0, max(-1.0, 1 - sample.tokens / target))


BUILTIN: dict[str, Callable[[Sample], float]] = {
    "exact": exact,
    "format": well_formed,
    "length": short,
}


def _finite(value: object) -> float:
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number):
        raise ValueError(Message("it gave {number}", number=number))
    return number


def _total(weights: Sequence[float], values: Sequence[float | None]) -> float | None:
    total = 0.0
    for weight, value in zip(weights, values, strict=True):
        if value is None:
            return None
        total += weight * value
    return total


def one_line(error: Exception) -> str:
    """An error in one line, for a sentence."""
    return f"{type(error).__name__}: {error}".partition("\n")[0]


if __name__ == "__main__":
    asked = [
        Sample("1 + 1?", " 2\n", "2", tokens=3, ended=True),
        Sample("1 + 1?", "3\nor 2", "2", tokens=96, ended=False),
    ]
    scored = score([Reward(name, BUILTIN[name]) for name in BUILTIN], [1.0, 0.5, 0.5], asked)
    print(scored)
    print("=== 自测通过 ===")
