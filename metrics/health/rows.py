"""The rows that conditions check: one row of a live run, or a block of rows of a store.

Both answer in the same terms: a step and a number, or arrays of steps and numbers, on which the
same expressions work.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any, Protocol, TypeAlias

import numpy as np

from lmm_tui.metrics import names
from lmm_tui.metrics.series.growing_array import Ints, union
from lmm_tui.metrics.series.series import SeriesStore

Column: TypeAlias = Any
"""The numbers of a metric: a float of one row, or an array of a block."""
Steps: TypeAlias = Any
"""An int of one row, or an array of a block."""
Mask: TypeAlias = Any
"""Whether something holds: a bool of one row, or an array of a block."""

_BLOCK = re.compile(re.escape(names.GRAD_LAYER) + r"layers\.\d+")


class Rows(Protocol):
    """One or many rows, in the order of their steps."""

    @property
    def names(self) -> Sequence[str]:
        """The metrics that may be in them."""

    @property
    def all_finite(self) -> bool:
        """Whether all numbers are known to be finite."""

    @property
    def layers(self) -> Sequence[str]:
        """The gradient norms of layers among `names`."""

    @property
    def blocks(self) -> Sequence[str]:
        """Those of numbered blocks."""

    def column(self, name: str) -> tuple[Steps, Column] | None:
        """Steps and values of a metric; None where it was not measured."""

    def finite(self, name: str) -> tuple[Steps, Column] | None:
        """Of these the finite ones."""

    def has(self, name: str, steps: Steps) -> Mask:
        """Whether a metric is in the row of each step."""

    def aligned(self, wanted: Sequence[str]) -> Iterator[tuple[Steps, dict[str, Column]]]:
        """The rows with any of some metrics, in stretches in which the same ones are measured."""


class OneRow:
    """One row."""

    all_finite: bool

    def __init__(self, step: int, row: Mapping[str, float]) -> None:
        self.step = step
        self._row = row
        # A sum is finite only if every term is.
        self.all_finite = math.isfinite(sum(row.values()))
        self.names = tuple(row)

    @cached_property
    def layers(self) -> Sequence[str]:
        return _layers(self.names)

    @cached_property
    def blocks(self) -> Sequence[str]:
        return _blocks(self.names)

    def column(self, name: str) -> tuple[Steps, Column] | None:
        value = self._row.get(name)
        return None if value is None else (self.step, value)

    def finite(self, name: str) -> tuple[Steps, Column] | None:
        value = self._row.get(name)
        return None if value is None or not math.isfinite(value) else (self.step, value)

    def has(self, name: str, steps: Steps) -> Mask:
        del steps
        return name in self._row

    def aligned(self, wanted: Sequence[str]) -> Iterator[tuple[Steps, dict[str, Column]]]:
        row = self._row
        if measured := {name: row[name] for name in wanted if name in row}:
            yield self.step, measured


class RowBlock:
    """The rows of a store between two steps, both included."""

    all_finite = False

    def __init__(self, store: SeriesStore, first: int, last: int) -> None:
        self._store = store
        self._span = first, last
        self.names = tuple(store.names())
        self.layers = _layers(self.names)
        self.blocks = _blocks(self.names)

    def column(self, name: str) -> tuple[Steps, Column] | None:
        series = self._store.get(name)
        if series is None:
            return None
        steps, _, values = series.between(*self._span)
        return (steps, values) if len(steps) else None

    def finite(self, name: str) -> tuple[Steps, Column] | None:
        if (column := self.column(name)) is None:
            return None
        steps, values = column
        finite = np.isfinite(values)
        if not finite.all():
            steps, values = steps[finite], values[finite]
        return (steps, values) if len(steps) else None

    def has(self, name: str, steps: Steps) -> Mask:
        column = self.column(name)
        return np.isin(steps, column[0]) if column else np.zeros(len(steps), bool)

    def aligned(self, wanted: Sequence[str]) -> Iterator[tuple[Steps, dict[str, Column]]]:
        columns = {name: column for name in wanted if (column := self.column(name))}
        if not columns:
            return
        first, *others = (steps for steps, _ in columns.values())
        if all(len(steps) == len(first) and (steps == first).all() for steps in others):
            yield first, {name: values for name, (_, values) in columns.items()}
            return
        yield from _cut(columns)


def _cut(columns: dict[str, tuple[Ints, Any]]) -> Iterator[tuple[Steps, dict[str, Column]]]:
    all_steps = union([steps for steps, _ in columns.values()])
    measured = np.zeros((len(columns), len(all_steps)), bool)
    numbers = np.zeros(measured.shape)
    for at, (steps, values) in enumerate(columns.values()):
        where = all_steps.searchsorted(steps)
        measured[at, where] = True
        numbers[at, where] = values
    cuts = np.flatnonzero((measured[:, 1:] != measured[:, :-1]).any(0)) + 1
    for begin, end in pairwise([0, *cuts.tolist(), len(all_steps)]):
        alike = {
            name: numbers[at, begin:end]
            for at, name in enumerate(columns)
            if measured[at, begin]
        }  # fmt: skip
        if end - begin > 1:
            yield all_steps[begin:end], alike
        else:
            yield int(all_steps[begin]), {name: float(value[0]) for name, value in alike.items()}


# Rows of a run have a few different sets of keys; each set is parsed once.
@lru_cache(maxsize=64)
def _layers(metrics: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in metrics if name.startswith(names.GRAD_LAYER))


@lru_cache(maxsize=64)
def _blocks(metrics: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in metrics if _BLOCK.fullmatch(name))


if __name__ == "__main__":
    store = SeriesStore()
    store.extend(np.arange(4), {"loss": (None, np.array([1.0, np.nan, 2.0, 3.0]))})
    print(RowBlock(store, 1, 3).finite("loss"), OneRow(2, {"loss": 2.0}).finite("loss"))
    print("=== 自测通过 ===")
