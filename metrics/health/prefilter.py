"""Where in a long series a health condition could find anything, told from whole columns at once.

A screen is a necessary condition only: what `look` would find lies in the rows it names, and nearly
all rows of a healthy run are in none. It knows neither rules nor episodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from functools import singledispatch
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lmm_tui.metrics import names
from lmm_tui.metrics.health.conditions import (
    BelowOwnMedian,
    Collapse,
    Condition,
    FirstLoss,
    LoudLayer,
    NonFinite,
    Overfit,
    Risen,
    SpikeCondition,
    StuckAt,
    Threshold,
    TooGood,
    Values,
    WorseThanGuessing,
    ZeroLayer,
    is_block,
)
from lmm_tui.metrics.health.rolling_stats import LARGEST
from lmm_tui.metrics.series.growing_array import Floats, Ints, union
from lmm_tui.metrics.series.row_values import MAX_STEP
from lmm_tui.metrics.series.series import SeriesStore

Mask: TypeAlias = NDArray[np.bool]

_NEARLY = 1e-6
"""A screen is wider by this share than its condition, whose sums round in another order."""


def _nothing(fresh: Condition, before: Condition, step: int) -> None:
    del fresh, before, step


@dataclass(frozen=True)
class Prefilter:
    """What a condition reads, and which steps of it deserve its look."""

    metrics: tuple[str, ...]
    steps: Ints
    """Ascending; where `look` may find something."""
    memory: int = 1
    """Rows of its metrics that tell a fresh condition all that it must remember."""
    prepare: Callable[[Condition, Condition, int], None] = _nothing
    """Tells a fresh condition what lies further back than its memory: what the one before it
    knew, and what came up to a step, that included."""


class MetricTable:
    """The columns of a store, between two steps, as screens read them."""

    def __init__(self, store: SeriesStore, first: int, last: int) -> None:
        self._store = store
        self._span = first, last
        self.names = store.names()

    def column(self, name: str) -> tuple[Ints, Floats]:
        """Steps and values of a metric; empty where it was not measured."""
        series = self._store.get(name)
        if series is None:
            return np.empty(0, np.int64), np.empty(0)
        steps, _, values = series.between(*self._span)
        return steps, values

    def finite(self, name: str) -> tuple[Ints, Floats, int]:
        """Only the finite values, cut to what windows hold, and how many others there are."""
        steps, values = self.column(name)
        finite = np.isfinite(values)
        others = len(values) - int(finite.sum())
        if others:
            steps, values = steps[finite], values[finite]
        return steps, np.clip(values, -LARGEST, LARGEST), others


@singledispatch
def prefilter_of(condition: Condition, table: MetricTable, references: Values) -> Prefilter:
    """The screen of a condition as it is now; of one that is not known here, all rows."""
    del condition, references
    steps = [table.column(name)[0] for name in table.names]
    return Prefilter(tuple(table.names), union(steps) if steps else np.empty(0, np.int64))


@prefilter_of.register
def _(condition: NonFinite, table: MetricTable, references: Values) -> Prefilter:
    del condition, references
    looked_at = (names.TRAIN_LOSS, names.VAL_LOSS, names.GRAD_NORM)
    read = _known(table, (*looked_at, *_layers(table)))
    return Prefilter(read, _where_any(table, read, lambda values: ~np.isfinite(values)))


@prefilter_of.register
def _(condition: FirstLoss, table: MetricTable, references: Values) -> Prefilter:
    steps = table.column(names.TRAIN_LOSS)[0] if "ln V" in references else np.empty(0, np.int64)
    del condition
    return Prefilter((names.TRAIN_LOSS,), steps[steps <= 1])


@prefilter_of.register
def _(condition: TooGood, table: MetricTable, references: Values) -> Prefilter:
    level = references.get("bigram", -math.inf)
    steps, values = table.column(names.TRAIN_LOSS)
    early = steps[: steps.searchsorted(condition.until, side="right")]
    return Prefilter((names.TRAIN_LOSS,), early[values[: len(early)] < condition.share * level])


@prefilter_of.register
def _(condition: WorseThanGuessing, table: MetricTable, references: Values) -> Prefilter:
    steps, values, others = table.finite(names.TRAIN_LOSS)
    above = values > references.get("ln V", math.inf) + condition.margin
    return Prefilter((names.TRAIN_LOSS,), steps[above], condition.rows + others)


@prefilter_of.register
def _(condition: StuckAt, table: MetricTable, references: Values) -> Prefilter:
    given = condition.level
    level = references.get(given, math.nan) if isinstance(given, str) else given
    steps, values, others = table.finite(condition.metric)
    memory = condition.window + others
    if math.isnan(level):
        return Prefilter((condition.metric,), steps[:0], memory)
    means = _rolling_mean(values, condition.window)
    near = np.abs(means - level) <= condition.margin + _slack(means, abs(level))
    return Prefilter((condition.metric,), steps[near & (steps >= condition.after)], memory)


@prefilter_of.register
def _(condition: SpikeCondition, table: MetricTable, references: Values) -> Prefilter:
    del references
    steps, values, others = table.finite(condition.metric)
    means = _before(_rolling_mean(values, condition.window))
    high = (values > condition.times * means - _slack(means)) & (means > -_NEARLY)
    if high.sum() > len(values) // 100:  # Else the rest costs less than this does.
        deviations = _before(_rolling_deviation(values, condition.window))
        high &= values > means + condition.sigmas * deviations - _slack(means, deviations)
    return Prefilter((condition.metric,), steps[high], condition.window + others)


@prefilter_of.register
def _(condition: Risen, table: MetricTable, references: Values) -> Prefilter:
    del references
    steps, values, others = table.finite(condition.metric)
    means = _rolling_mean(values, condition.window)
    started = deepcopy(condition)  # The first windows reach back before the table.
    for step, value in zip(steps[: condition.window], values, strict=False):
        started.remember(int(step), {condition.metric: float(value)}, {})
    best = np.fmin(np.fmin.accumulate(means), started.best) if len(means) else means
    risen = means > (1 + condition.share) * best - _slack(means)

    def prepare(fresh: Condition, before: Condition, step: int) -> None:
        assert isinstance(fresh, Risen) and isinstance(before, Risen)
        at = int(steps.searchsorted(step, side="right")) - 1
        fresh.best = min(before.best, float(best[at])) if at >= 0 else before.best

    return Prefilter((condition.metric,), steps[risen], condition.window + others, prepare)


@prefilter_of.register
def _(condition: ZeroLayer, table: MetricTable, references: Values) -> Prefilter:
    del references
    read = _layers(table)
    columns = [table.column(name) for name in read]
    if columns and not _aligned(columns):
        return Prefilter(read, union([steps for steps, _ in columns]), condition.rows)
    return Prefilter(read, _where_any(table, read, lambda values: values == 0), condition.rows)


@prefilter_of.register
def _(condition: LoudLayer, table: MetricTable, references: Values) -> Prefilter:
    del references
    read = tuple(name for name in table.names if is_block(name))
    columns = [table.column(name) for name in read]
    if len(columns) < 3:
        return Prefilter(read, np.empty(0, np.int64), condition.rows)
    if not _aligned(columns):
        return Prefilter(read, union([steps for steps, _ in columns]), condition.rows)
    steps = columns[0][0]
    values = [column for _, column in columns]
    highest, lowest = values[0].copy(), values[0].copy()
    for column in values[1:]:
        np.maximum(highest, column, out=highest)  # NaN stays NaN in both.
        np.minimum(lowest, column, out=lowest)
    wide = np.flatnonzero(~(highest <= condition.times * lowest))
    few = np.array([column[wide] for column in values])
    few.sort(axis=0)
    odd = ~np.isfinite(few).all(0)
    loud = ~(highest[wide] <= condition.times * few[len(values) // 2])
    return Prefilter(read, steps[wide[loud | odd]], condition.rows)


@prefilter_of.register
def _(condition: Overfit, table: MetricTable, references: Values) -> Prefilter:
    del references
    steps, values, others = table.finite(names.TRAIN_LOSS)
    held_out, val, unread = table.finite(names.VAL_LOSS)
    read = (names.TRAIN_LOSS, names.VAL_LOSS)
    if not (len(steps) and len(val)):
        return Prefilter(read, held_out[:0], condition.window + others + unread)
    means = _rolling_mean(values, condition.window)
    train = means[np.maximum(steps.searchsorted(held_out, side="right") - 1, 0)]
    rising = np.append(False, np.diff(val) > 0)
    apart = val - train > condition.gap - _slack(val, train)
    # All validations that a streak of rises needs, and the window before the last of them.
    back = condition.rises + 1
    reach = int((held_out[back:] - held_out[:-back]).max()) if len(val) > back else MAX_STEP
    memory = condition.window + others + unread + min(reach, len(steps) + len(val))
    return Prefilter(read, held_out[rising & apart], memory)


@prefilter_of.register
def _(condition: Collapse, table: MetricTable, references: Values) -> Prefilter:
    del references
    ratio, cosine = (names.PROBE + name for name in ("participation_ratio", "cosine_sim_intra"))
    steps, values = table.column(ratio)
    few = steps[(values < condition.ratio) & (steps >= condition.after)]
    return Prefilter((ratio, cosine), few)


@prefilter_of.register
def _(condition: BelowOwnMedian, table: MetricTable, references: Values) -> Prefilter:
    del references
    steps, values, others = table.finite(condition.metric)
    # No median is above the highest of its values.
    highest = _before(_rolling(values, condition.window, np.maximum))
    low = values < condition.share * highest
    return Prefilter((condition.metric,), steps[low], condition.window + condition.rows + others)


@prefilter_of.register
def _(condition: Threshold, table: MetricTable, references: Values) -> Prefilter:
    del references
    steps, values, others = table.finite(condition.metric)
    means = _rolling_mean(values, condition.rows)
    slack = _slack(means)
    out = (means > condition.above - slack) | (means < condition.below + slack)
    return Prefilter((condition.metric,), steps[out], condition.rows + others)


def _layers(table: MetricTable) -> tuple[str, ...]:
    return tuple(name for name in table.names if name.startswith(names.GRAD_LAYER))


def _known(table: MetricTable, wanted: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in wanted if name in table.names)


def _aligned(columns: list[tuple[Ints, Floats]]) -> bool:
    """Whether all are measured at the same steps; at least one column."""
    first, _ = columns[0]
    return all(len(steps) == len(first) and bool((steps == first).all()) for steps, _ in columns)


def _where_any(table: MetricTable, read: Iterable[str], test: Callable[[Floats], Mask]) -> Ints:
    """Steps at which any of some metrics passes a test."""
    columns = [table.column(name) for name in read]
    found = [steps[passed] for steps, values in columns if (passed := test(values)).any()]
    return union(found) if found else np.empty(0, np.int64)


def _slack(*sizes: Floats | float) -> Floats:
    """How far apart two ways of rounding may be, for numbers of such sizes."""
    total: Floats = np.asarray(sum(np.abs(size) for size in sizes))
    return _NEARLY * total + np.finfo(float).tiny


def _before(column: Floats) -> Floats:
    """What a column was one row earlier; NaN before the first."""
    return np.append(math.nan, column[:-1]) if len(column) else column


def _rolling(values: Floats, window: int, of: np.ufunc) -> Floats:
    """`of` over the last `window` values at each; NaN until there are so many.

    A window is the end of one block and the start of the next: nothing is ever subtracted, so
    that one huge value spoils no other window.
    """
    if len(values) < window:
        return np.full(len(values), math.nan)
    blocks = -(-len(values) // window)
    padded = np.zeros(blocks * window)
    padded[: len(values)] = values
    square = padded.reshape(blocks, window)
    starts = of.accumulate(square, axis=1).ravel()
    ends = of.accumulate(square[:, ::-1], axis=1)[:, ::-1].ravel()
    result = starts[: len(values)].copy()
    within = np.arange(len(values)) % window != window - 1
    result[: window - 1] = math.nan
    inner = np.flatnonzero(within[window:]) + window
    result[inner] = of(starts[inner], ends[inner - window + 1])
    return result


def _rolling_mean(values: Floats, window: int) -> Floats:
    return _rolling(values, window, np.add) / window


def _rolling_deviation(values: Floats, window: int) -> Floats:
    """Of the values themselves, around their common middle, so that little cancels."""
    with np.errstate(over="ignore", invalid="ignore"):
        away = values - np.median(values) if len(values) else values
        square = _rolling_mean(away * away, window) - _rolling_mean(away, window) ** 2
        return np.sqrt(np.maximum(square, 0.0))


if __name__ == "__main__":
    store = SeriesStore()
    losses = np.full(1000, 2.0)
    losses[700] = 9.0
    store.extend(np.arange(1000), {names.TRAIN_LOSS: (None, losses)})
    found = prefilter_of(SpikeCondition(names.TRAIN_LOSS), MetricTable(store, 0, 999), {})
    print(found.steps, found.memory)
    assert found.steps.tolist() == [700]
    assert _rolling(np.arange(7.0), 3, np.maximum)[2:].tolist() == [2, 3, 4, 5, 6]
    print("=== 自测通过 ===")
