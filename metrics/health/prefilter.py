"""The steps of a long run at which a health condition may find something, from whole columns.

A prefilter is a necessary condition: all that `check` would find is at the steps it names, and a
healthy run has hardly any. Its sums are taken in another order than those of a condition, so its
bounds are wider by what rounding may do (`slack`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from lmm_tui.metrics import names
from lmm_tui.metrics.health.condition import Condition, Values
from lmm_tui.metrics.health.layer_conditions import (
    MUST_BE_FINITE,
    Collapse,
    LoudLayer,
    NonFinite,
    ZeroLayer,
    is_block,
)
from lmm_tui.metrics.health.loss_conditions import (
    FirstLoss,
    NearZero,
    Overfit,
    TooGood,
    WorseThanGuessing,
)
from lmm_tui.metrics.health.metric_conditions import (
    BelowOwnMedian,
    Risen,
    SpikeCondition,
    StuckAt,
    Threshold,
)
from lmm_tui.metrics.health.metric_table import MetricTable, aligned, where_any
from lmm_tui.metrics.health.rolling_columns import (
    NEARLY,
    before,
    rolling,
    rolling_deviation,
    rolling_mean,
    slack,
)
from lmm_tui.metrics.series.growing_array import Floats, Ints, union
from lmm_tui.metrics.series.row_values import MAX_STEP
from lmm_tui.metrics.series.series import SeriesStore


def _nothing(fresh: Condition, previous: Condition, step: int) -> None:
    del fresh, previous, step


@dataclass(frozen=True)
class Prefilter:
    """The metrics that a condition reads, and the steps at which it must check the row."""

    metrics: tuple[str, ...]
    steps: Ints
    """Ascending; all steps at which `check` may find something."""
    memory: int = 1
    """Rows of its metrics that bring a fresh condition into the same state as all rows would."""
    prepare: Callable[[Condition, Condition, int], None] = _nothing
    """prepare(fresh, previous, step) gives a fresh condition what its memory does not reach: the
    state of the previous condition and the rows up to `step`, included."""


@singledispatch
def prefilter_of(condition: Condition, table: MetricTable, baselines: Values) -> Prefilter:
    """The prefilter of a condition in its present state; all rows for an unknown class."""
    del condition, baselines
    steps = [table.column(name)[0] for name in table.names]
    return Prefilter(tuple(table.names), union(steps) if steps else np.empty(0, np.int64))


@prefilter_of.register
def _(condition: NonFinite, table: MetricTable, baselines: Values) -> Prefilter:
    del condition, baselines
    read = (*(name for name in MUST_BE_FINITE if name in table.names), *table.layers())
    return Prefilter(read, where_any(table, read, lambda values: ~np.isfinite(values)))


@prefilter_of.register
def _(condition: FirstLoss, table: MetricTable, baselines: Values) -> Prefilter:
    steps = table.column(names.TRAIN_LOSS)[0] if "ln V" in baselines else np.empty(0, np.int64)
    del condition
    return Prefilter((names.TRAIN_LOSS,), steps[steps <= 1])


@prefilter_of.register
def _(condition: TooGood, table: MetricTable, baselines: Values) -> Prefilter:
    level = baselines.get("bigram", -math.inf)
    steps, values = table.column(names.TRAIN_LOSS)
    early = steps[: steps.searchsorted(condition.until, side="right")]
    return Prefilter((names.TRAIN_LOSS,), early[values[: len(early)] < condition.share * level])


@prefilter_of.register
def _(condition: WorseThanGuessing, table: MetricTable, baselines: Values) -> Prefilter:
    steps, values, others = table.finite(names.TRAIN_LOSS)
    above = values > baselines.get("ln V", math.inf) + condition.margin
    return Prefilter((names.TRAIN_LOSS,), steps[above], condition.rows + others)


@prefilter_of.register
def _(condition: StuckAt, table: MetricTable, baselines: Values) -> Prefilter:
    given = condition.level
    level = baselines.get(given, math.nan) if isinstance(given, str) else given
    steps, values, others = table.finite(condition.metric)
    memory = condition.window + others
    if math.isnan(level):
        return Prefilter((condition.metric,), steps[:0], memory)
    means = rolling_mean(values, condition.window)
    near = np.abs(means - level) <= condition.margin + slack(means, abs(level))
    return Prefilter((condition.metric,), steps[near & (steps >= condition.after)], memory)


@prefilter_of.register
def _(condition: SpikeCondition, table: MetricTable, baselines: Values) -> Prefilter:
    del baselines
    steps, values, others = table.finite(condition.metric)
    means = before(rolling_mean(values, condition.window))
    least = np.maximum(condition.times * means, means + condition.rise)
    high = (values > least - slack(means)) & (means > -NEARLY)
    # Where few are high, checking these rows costs less than rolling deviations of the column.
    if high.sum() > len(values) // 100:
        deviations = before(rolling_deviation(values, condition.window))
        high &= values > means + condition.sigmas * deviations - slack(means, deviations)
    return Prefilter((condition.metric,), steps[high], condition.window + others)


@prefilter_of.register
def _(condition: Risen, table: MetricTable, baselines: Values) -> Prefilter:
    del baselines
    steps, values, others = table.finite(condition.metric)
    means = rolling_mean(values, condition.window)
    best = _lowest_means(condition, condition.metric, steps, values, means)
    risen = means > (1 + condition.share) * best - slack(means)
    prepare = _keep_lowest(steps, best)
    return Prefilter((condition.metric,), steps[risen], condition.window + others, prepare)


def _lowest_means(
    condition: Risen | Overfit, metric: str, steps: Ints, values: Floats, means: Floats
) -> Floats:
    """The lowest mean up to each row."""
    # The table starts after the rows that `condition` has seen; the first windows span both.
    started = deepcopy(condition)
    for step, value in zip(steps[: condition.window], values, strict=False):
        started.remember(int(step), {metric: float(value)}, {})
    return np.fmin(np.fmin.accumulate(means), started.best) if len(means) else means


def _keep_lowest(steps: Ints, best: Floats) -> Callable[[Condition, Condition, int], None]:
    """The lowest mean so far may be from any row, however long ago."""

    def prepare(fresh: Condition, previous: Condition, step: int) -> None:
        assert isinstance(fresh, Risen | Overfit) and isinstance(previous, Risen | Overfit)
        at = int(steps.searchsorted(step, side="right")) - 1
        fresh.best = min(previous.best, float(best[at])) if at >= 0 else previous.best

    return prepare


@prefilter_of.register
def _(condition: ZeroLayer, table: MetricTable, baselines: Values) -> Prefilter:
    del baselines
    read = table.layers()
    columns = [table.column(name) for name in read]
    if columns and not aligned(columns):
        return Prefilter(read, union([steps for steps, _ in columns]), condition.rows)
    return Prefilter(read, where_any(table, read, lambda values: values == 0), condition.rows)


@prefilter_of.register
def _(condition: LoudLayer, table: MetricTable, baselines: Values) -> Prefilter:
    del baselines
    read = tuple(name for name in table.names if is_block(name))
    columns = [table.column(name) for name in read]
    if len(columns) < 3:
        return Prefilter(read, np.empty(0, np.int64), condition.rows)
    if not aligned(columns):
        return Prefilter(read, union([steps for steps, _ in columns]), condition.rows)
    steps = columns[0][0]
    values = [column for _, column in columns]
    highest, lowest = values[0].copy(), values[0].copy()
    for column in values[1:]:
        np.maximum(highest, column, out=highest)  # NaN stays NaN in both.
        np.minimum(lowest, column, out=lowest)
    # The median, which needs a sort, only of the rows in which the extremes are far apart.
    # `not <=` instead of `>`: NaN passes.
    wide = np.flatnonzero(~(highest <= condition.times * lowest))
    candidates = np.array([column[wide] for column in values])  # (blocks, rows)
    candidates.sort(axis=0)
    nonfinite = ~np.isfinite(candidates).all(0)
    loud = ~(highest[wide] <= condition.times * candidates[len(values) // 2])
    return Prefilter(read, steps[wide[loud | nonfinite]], condition.rows)


@prefilter_of.register
def _(condition: Overfit, table: MetricTable, baselines: Values) -> Prefilter:
    del baselines
    steps, values, others = table.finite(names.TRAIN_LOSS)
    val_steps, val, unread = table.finite(names.VAL_LOSS)
    read = (names.TRAIN_LOSS, names.VAL_LOSS)
    if not (len(steps) and len(val)):
        return Prefilter(read, val_steps[:0], condition.window + others + unread)
    means = rolling_mean(values, condition.window)
    train = means[np.maximum(steps.searchsorted(val_steps, side="right") - 1, 0)]
    rising = np.append(False, np.diff(val) > 0)
    least = np.minimum(condition.gap, condition.share * np.maximum(val, 0.0))
    apart = val - train > least - slack(val, train)
    best = _lowest_means(condition, names.TRAIN_LOSS, steps, values, means)
    # The state depends on the last `rises + 1` validations, which may be many rows apart, and on
    # the window of training losses before the last of them.
    back = condition.rises + 1
    reach = int((val_steps[back:] - val_steps[:-back]).max()) if len(val) > back else MAX_STEP
    memory = condition.window + others + unread + min(reach, len(steps) + len(val))
    return Prefilter(read, val_steps[rising & apart], memory, _keep_lowest(steps, best))


@prefilter_of.register
def _(condition: NearZero, table: MetricTable, baselines: Values) -> Prefilter:
    del baselines
    steps, values, others = table.finite(names.TRAIN_LOSS)
    means = rolling_mean(values, condition.window)
    low = (means < condition.below + slack(means)) & (values >= 0)
    rewarded = table.column(names.REWARD)[0]
    without_loss = 0
    if len(rewarded) and len(steps):
        at = np.minimum(steps.searchsorted(rewarded), len(steps) - 1)
        beside = steps[at] == rewarded
        low[at[beside]] = False
        without_loss = int((~beside).sum())
    memory = condition.window + others + without_loss
    return Prefilter((names.TRAIN_LOSS, names.REWARD), steps[low], memory)


@prefilter_of.register
def _(condition: Collapse, table: MetricTable, baselines: Values) -> Prefilter:
    del baselines
    ratio, cosine = (names.PROBE + name for name in ("participation_ratio", "cosine_sim_intra"))
    steps, values = table.column(ratio)
    few = steps[(values < condition.ratio) & (steps >= condition.after)]
    return Prefilter((ratio, cosine), few)


@prefilter_of.register
def _(condition: BelowOwnMedian, table: MetricTable, baselines: Values) -> Prefilter:
    del baselines
    steps, values, others = table.finite(condition.metric)
    # The highest value bounds the median from above.
    highest = before(rolling(values, condition.window, np.maximum))
    low = values < condition.share * highest
    return Prefilter((condition.metric,), steps[low], condition.window + condition.rows + others)


@prefilter_of.register
def _(condition: Threshold, table: MetricTable, baselines: Values) -> Prefilter:
    del baselines
    steps, values, others = table.finite(condition.metric)
    means = rolling_mean(values, condition.rows)
    room = slack(means)
    out = (means > condition.above - room) | (means < condition.below + room)
    return Prefilter((condition.metric,), steps[out], condition.rows + others)


if __name__ == "__main__":
    store = SeriesStore()
    losses = np.full(1000, 2.0)
    losses[700] = 9.0
    store.extend(np.arange(1000), {names.TRAIN_LOSS: (None, losses)})
    print(prefilter_of(SpikeCondition(names.TRAIN_LOSS), MetricTable(store, 0, 999), {}))
    print("=== 自测通过 ===")
