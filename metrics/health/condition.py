"""The contract of a health condition: it checks the rows of a run, in order, and reports findings.

A condition has its thresholds as fields, which a rules file can change, and what it remembers of
earlier rows as private attributes. It says once what is wrong, in expressions that work on the
numbers of one row as on the arrays of a block: however a run is cut, it finds the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lmm_tui.metrics.health.rolling import Column, Mask
from lmm_tui.metrics.health.rows import HealthRows, Steps
from lmm_tui.metrics.series.growing_array import Ints

Baselines: TypeAlias = Mapping[str, float]
"""Loss levels in nats: `ln V`, `unigram`, `bigram`."""


@dataclass(frozen=True)
class HealthFinding:
    """What a condition found: `what` is a sentence."""

    what: str
    values: dict[str, float]


class FoundRows(NamedTuple):
    """The rows in which a condition found something in a layer, or in the whole run."""

    positions: Ints
    """Among the rows that could be judged, from 0."""
    steps: Ints
    finding: Callable[[int], HealthFinding]
    """What was found in the first, second, … of these rows."""
    where: str = ""


class Judged(NamedTuple):
    """How many rows had what it takes to judge them, and what was found."""

    rows: int
    found: list[FoundRows]


NOT_JUDGED = Judged(0, [])
CALM = Judged(1, [])
"""One row, in which nothing is wrong."""


class Condition(ABC):
    """Checks rows in the order of their steps."""

    def needs(self) -> tuple[str, ...]:
        """Metrics without which no row can be judged: rows that lack one need not be checked."""
        return ()

    @abstractmethod
    def check(self, rows: HealthRows, baselines: Baselines) -> Judged:
        """What is wrong in the rows that follow those before."""


def judged(
    steps: Steps,
    hits: Mask,
    finding: Callable[..., HealthFinding],
    *facts: Column,
    among: Mask = True,
) -> Judged:
    """Found where it hits, among the rows that could be judged; `finding` is called with the step
    and the facts of a row."""
    if not isinstance(steps, np.ndarray):
        if not among:
            return NOT_JUDGED
        return Judged(1, [found_in(steps, hits, finding, *facts)]) if hits else CALM
    rows = len(steps) if among is True else int(np.count_nonzero(among))
    if not rows or not (hits & among).any():
        return Judged(rows, [])
    return Judged(rows, [found_in(steps, hits, finding, *facts, among=among)])


def found_in(
    steps: Steps,
    hits: Mask,
    finding: Callable[..., HealthFinding],
    *facts: Column,
    among: Mask = True,
    where: str = "",
) -> FoundRows:
    """Of rows some of which are hits."""
    steps, hits = np.atleast_1d(steps), np.atleast_1d(hits) & among
    positions = np.cumsum(np.broadcast_to(among, hits.shape)) - 1
    chosen = [np.broadcast_to(fact, hits.shape)[hits] for fact in facts]

    def one(at: int) -> HealthFinding:
        return finding(int(steps[hits][at]), *(float(fact[at]) for fact in chosen))

    return FoundRows(positions[hits], steps[hits], one, where)


def together(parts: list[Judged]) -> Judged:
    """Of successive stretches of rows."""
    if len(parts) == 1:
        return parts[0]
    total, found = 0, []
    for part in parts:
        found += [one._replace(positions=one.positions + total) for one in part.found]
        total += part.rows
    return Judged(total, found)


def some(mask: Mask) -> bool:
    """Whether it holds in any row."""
    return bool(mask.any()) if isinstance(mask, np.ndarray) else bool(mask)


def every(mask: Mask) -> bool:
    """Whether it holds in all rows."""
    return bool(mask.all()) if isinstance(mask, np.ndarray) else bool(mask)


def either(mask: Mask, x: Column, otherwise: float) -> Column:
    """`x` where a mask holds."""
    if isinstance(mask, np.ndarray):
        return np.where(mask, x, otherwise)
    return x if mask else otherwise


def last(column: Column) -> float:
    """The number of the last row."""
    return float(column[-1]) if isinstance(column, np.ndarray) else column


def among_rows(mask: Mask, column: Any) -> Any:
    """A column of the rows in which a mask holds, which it does in some."""
    return column[mask] if isinstance(mask, np.ndarray) else column


if __name__ == "__main__":
    loss = np.array([1.0, -1.0, 2.0])
    found = judged(
        np.arange(3), loss < 0, lambda step, x: HealthFinding("loss < 0", {"x": x}), loss
    )
    print(found.rows, found.found[0].finding(0), sorted(Condition.__abstractmethods__))
    print("=== 自测通过 ===")
