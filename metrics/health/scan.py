"""All rules over all that a store holds, with the outcome of `observe` row by row.

Only where a rule's screen sees anything is it shown single rows: a million steps of a healthy run
take less than a second. It knows no files.
"""

from __future__ import annotations

from copy import deepcopy

import numpy as np

from lmm_tui.metrics.health.conditions import Condition, Values
from lmm_tui.metrics.health.health import Alert, Health, Rule
from lmm_tui.metrics.health.prefilter import MetricTable, Prefilter, prefilter_of
from lmm_tui.metrics.series.growing_array import Ints, union
from lmm_tui.metrics.series.row_values import MAX_STEP
from lmm_tui.metrics.series.rows import rows_of
from lmm_tui.metrics.series.series import SeriesStore

_FEW = 512
"""Rows that are shown one by one sooner than columns are screened."""
_AT_ONCE = 256


def examine(store: SeriesStore, health: Health, last: int = MAX_STEP) -> None:
    """Show `health` all that a store holds after the step it saw last, up to the step `last`."""
    first = -MAX_STEP if health.last_step is None else health.last_step + 1
    begin, end = store.steps.searchsorted([first, last + 1]).tolist()
    if end - begin <= _FEW:
        for step, _, row in rows_of(store, first, last):
            health.observe(step, row)
        return
    table = MetricTable(store, first, last)
    begun: list[tuple[int, int, Alert]] = []
    for number, (rule, condition) in enumerate(health.rules):
        scan = _Scan(
            store, health, rule, condition, prefilter_of(condition, table, health.references)
        )
        begun += [(alert.step, number, alert) for alert in scan.run(table)]
        health.rules[number] = rule, scan.condition
    health.alerts += [alert for *_, alert in sorted(begun, key=lambda found: found[:2])]
    health.last_step = int(store.steps[end - 1])


class _Scan:
    """One rule over the rows of its metrics."""

    def __init__(
        self,
        store: SeriesStore,
        health: Health,
        rule: Rule,
        condition: Condition,
        screen: Prefilter,
    ) -> None:
        self.condition = condition
        self._store = store
        self._health = health
        self._rule = rule
        self._screen = screen

    def run(self, table: MetricTable) -> list[Alert]:
        """The alerts that begin, in order; leaves a condition that remembers the last rows."""
        columns = [steps for name in self._screen.metrics if len(steps := table.column(name)[0])]
        if not columns:
            return []
        steps = union(columns)
        marked = np.zeros(len(steps) + 1, bool)
        marked[steps.searchsorted(self._screen.steps)] = True
        marked[-1] = True  # The end: there the condition must remember, too.
        marks = np.flatnonzero(marked)
        begun: list[Alert] = []
        at = 0
        while at < len(steps):
            at = self._look(steps, marked, at, begun)
            target = int(marks[marks.searchsorted(at)])
            start = target - self._screen.memory
            if start > at:
                fresh = deepcopy(self._rule.condition)
                self._screen.prepare(fresh, self.condition, int(steps[target - 1]))
                for step, row in self._rows(steps, start, target):
                    fresh.remember(step, row, self._health.references)
                self.condition, at = fresh, target
        return begun

    def _look(self, steps: Ints, marked: np.ndarray, at: int, begun: list[Alert]) -> int:
        """Show single rows until the condition remembers nothing but rows without a finding and
        no episode is open; where that is."""
        quiet, memory = 0, self._screen.memory
        while at < len(steps):
            end = min(at + _AT_ONCE, len(steps))
            for step, row in self._rows(steps, at, end):
                found = self.condition.look(step, row, self._health.references)
                if found is not None:
                    begun += self._health.judge(self._rule, step, found)
                quiet = 0 if found or marked[at] else quiet + 1
                at += 1
                if quiet >= memory and not self._health.is_open(self._rule):
                    return at
        return at

    def _rows(self, steps: Ints, begin: int, end: int) -> list[tuple[int, Values]]:
        first, last = int(steps[begin]), int(steps[end - 1])
        found = rows_of(self._store, first, last, self._screen.metrics)
        return [(step, row) for step, _, row in found]


if __name__ == "__main__":
    from lmm_tui.metrics.names import TRAIN_LOSS

    losses = np.full(100_000, 2.0)
    losses[70_000] = 9.0
    store = SeriesStore()
    store.extend(np.arange(1, 100_001), {TRAIN_LOSS: (None, losses)})
    health = Health()
    examine(store, health)
    print(health.verdict())
    assert [(alert.rule, alert.step) for alert in health.alerts] == [("loss_spike", 70_001)]
    print("=== 自测通过 ===")
