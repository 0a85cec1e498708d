"""The rows that conditions check: one row of a live run, or a block of rows of a store.

Both answer in the same terms: a step and a number, or arrays of steps and numbers, on which the
same expressions work.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from lmm_tui.metrics import names
from lmm_tui.metrics.health.rolling import Column, Mask, Statistics, Windows
from lmm_tui.metrics.series.growing_array import Ints, union
from lmm_tui.metrics.series.series import SeriesStore

Steps: TypeAlias = Any
"""An int of one row, or an array of a block."""
Recent: TypeAlias = tuple[Steps, Column, Statistics]
"""Steps and finite values of a metric, and the statistics of the window that ends with each."""
Stretch: TypeAlias = tuple[Steps, dict[str, Column]]
"""Steps, and the columns of the metrics that are measured at all of them."""

_BLOCK = re.compile(re.escape(names.GRAD_LAYER) + r"[\w.]+\.\d+")


class HealthRows(ABC):
    """One or many rows, in the order of their steps."""

    metrics: tuple[str, ...]
    """Those that may be in them."""
    layers: tuple[str, ...]
    """The gradient norms of layers among them."""
    blocks: tuple[str, ...]
    """Of these the ones of numbered blocks."""
    all_finite = False
    """Whether all numbers are known to be finite."""

    def __init__(self, first_step: int, metrics: Iterable[str], windows: Windows) -> None:
        """`windows` hold the rows before."""
        self.first_step = first_step
        self.metrics = tuple(metrics)
        self.layers, self.blocks = _layers(self.metrics)
        self._windows = windows
        self._recent: dict[tuple[str, int], Recent] = {}
        self._aligned: dict[tuple[str, ...], Sequence[Stretch]] = {}

    @abstractmethod
    def column(self, metric: str) -> tuple[Steps, Column] | None:
        """Steps and values of a metric; None where it was not measured."""

    @abstractmethod
    def finite(self, metric: str) -> tuple[Steps, Column] | None:
        """Of these the finite ones."""

    @abstractmethod
    def has(self, metric: str, steps: Steps) -> Mask:
        """Whether a metric is in the row of each step."""

    def aligned(self, metrics: tuple[str, ...]) -> Sequence[Stretch]:
        """The rows with any of some metrics, in stretches in which the same ones are measured."""
        aligned = self._aligned.get(metrics)
        if aligned is None:
            aligned = self._aligned[metrics] = self._align(metrics)
        return aligned

    @abstractmethod
    def _align(self, metrics: tuple[str, ...]) -> Sequence[Stretch]: ...

    def recent(self, metric: str, size: int) -> Recent | None:
        """The finite values of a metric with their last `size`."""
        recent = self._recent.get((metric, size))
        if recent is None and (given := self.finite(metric)):
            window = self._windows[metric, size].add(given[1])
            recent = self._recent[metric, size] = (*given, window)
        return recent


class OneRow(HealthRows):
    def __init__(self, step: int, row: Mapping[str, float], windows: Windows) -> None:
        super().__init__(step, row, windows)
        self._step = step
        self._row = row
        # A sum is finite only if every term is.
        self.all_finite = math.isfinite(sum(row.values()))

    def column(self, metric: str) -> tuple[Steps, Column] | None:
        value = self._row.get(metric)
        return None if value is None else (self._step, value)

    def finite(self, metric: str) -> tuple[Steps, Column] | None:
        value = self._row.get(metric)
        if value is None or not (self.all_finite or math.isfinite(value)):
            return None
        return self._step, value

    def has(self, metric: str, steps: Steps) -> Mask:
        del steps
        return metric in self._row

    def _align(self, metrics: tuple[str, ...]) -> Sequence[Stretch]:
        row = self._row
        measured = {metric: row[metric] for metric in metrics if metric in row}
        return ((self._step, measured),) if measured else ()


class RowBlock(HealthRows):
    """The rows of a store between two steps, both included."""

    def __init__(self, store: SeriesStore, first: int, last: int, windows: Windows) -> None:
        super().__init__(first, store.names(), windows)
        self._store = store
        self._span = first, last

    def column(self, metric: str) -> tuple[Steps, Column] | None:
        series = self._store.get(metric)
        if series is None:
            return None
        steps, _, values = series.between(*self._span)
        return (steps, values) if len(steps) else None

    def finite(self, metric: str) -> tuple[Steps, Column] | None:
        if (column := self.column(metric)) is None:
            return None
        steps, values = column
        finite = np.isfinite(values)
        if not finite.all():
            steps, values = steps[finite], values[finite]
        return (steps, values) if len(steps) else None

    def has(self, metric: str, steps: Steps) -> Mask:
        column = self.column(metric)
        return np.isin(steps, column[0]) if column else np.zeros(len(steps), bool)

    def _align(self, metrics: tuple[str, ...]) -> Sequence[Stretch]:
        columns = {metric: column for metric in metrics if (column := self.column(metric))}
        if not columns:
            return ()
        first, *others = (steps for steps, _ in columns.values())
        if all(len(steps) == len(first) and (steps == first).all() for steps in others):
            return ((first, {metric: values for metric, (_, values) in columns.items()}),)
        return [*_stretches(columns)]


def _stretches(
    columns: dict[str, tuple[Ints, Any]],
) -> Iterable[Stretch]:
    all_steps = union([steps for steps, _ in columns.values()])
    measured = np.zeros((len(columns), len(all_steps)), bool)
    numbers = np.zeros(measured.shape)
    for at, (steps, values) in enumerate(columns.values()):
        where = all_steps.searchsorted(steps)
        measured[at, where] = True
        numbers[at, where] = values
    cuts = np.flatnonzero((measured[:, 1:] != measured[:, :-1]).any(0)) + 1
    for begin, end in pairwise([0, *cuts.tolist(), len(all_steps)]):
        having = [(at, name) for at, name in enumerate(columns) if measured[at, begin]]
        if end - begin > 1:
            yield all_steps[begin:end], {name: numbers[at, begin:end] for at, name in having}
        else:
            yield int(all_steps[begin]), {name: float(numbers[at, begin]) for at, name in having}


# Rows of a run have a few different sets of metrics; each set is parsed once.
@lru_cache(maxsize=64)
def _layers(metrics: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    layers = tuple(metric for metric in metrics if metric.startswith(names.GRAD_LAYER))
    return layers, tuple(metric for metric in layers if _BLOCK.fullmatch(metric))


if __name__ == "__main__":
    store = SeriesStore()
    store.extend(np.arange(4), {"loss": (None, np.array([1.0, np.nan, 2.0, 3.0]))})
    print(RowBlock(store, 1, 3, Windows()).finite("loss"))
    print(OneRow(2, {"loss": 2.0}, Windows()).recent("loss", 8))
    print("=== 自测通过 ===")
