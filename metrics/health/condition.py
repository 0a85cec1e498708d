"""The contract of a health condition: it reads the rows of a run one by one and reports findings.

A condition has its thresholds as fields, which a rules file can change, and what it remembers of
earlier rows as private attributes: O(1) a row, O(layers) where it compares layers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Values: TypeAlias = Mapping[str, float]


@dataclass(frozen=True)
class HealthFinding:
    """What a condition found: `what` is a sentence, `where` a layer or ''."""

    what: str
    values: dict[str, float]
    where: str = ""


class Condition(ABC):
    """Checks rows in the order of their steps."""

    @abstractmethod
    def check(self, step: int, row: Values, baselines: Values) -> list[HealthFinding] | None:
        """What is wrong in a row; None where the row lacks the metrics to judge it.

        `baselines` are loss levels in nats: `ln V`, `unigram`, `bigram`.
        """

    def remember(self, step: int, row: Values, baselines: Values) -> None:
        """Take in a row that is known to have no finding."""
        self.check(step, row, baselines)


if __name__ == "__main__":
    print(HealthFinding("loss < 0", {"loss": -1.0}), sorted(Condition.__abstractmethods__))
    print("=== 自测通过 ===")
