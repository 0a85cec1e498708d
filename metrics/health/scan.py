"""Health of a whole store at once, with the same alerts as `Health.observe` row by row.

Each rule checks single rows only where its prefilter marks some: a million steps of a healthy run
take less than a second.
"""

from __future__ import annotations

from copy import deepcopy

import numpy as np

from lmm_tui.metrics.health.alerts import Alert, Health
from lmm_tui.metrics.health.condition import Condition
from lmm_tui.metrics.health.prefilter import MetricTable, Prefilter, prefilter_of
from lmm_tui.metrics.health.rules import Rule
from lmm_tui.metrics.series.growing_array import Ints, union
from lmm_tui.metrics.series.row_values import MAX_STEP
from lmm_tui.metrics.series.rows import rows_of
from lmm_tui.metrics.series.series import SeriesStore

_FEW = 512
"""Up to so many rows, checking each is faster than the prefilters."""
_ROWS_AT_ONCE = 256


def examine(store: SeriesStore, health: Health, last: int = MAX_STEP) -> None:
    """Let `health` observe the rows of a store after its last step, up to the step `last`."""
    first = -MAX_STEP if health.last_step is None else health.last_step + 1
    begin, end = store.steps.searchsorted([first, last + 1]).tolist()
    if end - begin <= _FEW:
        for step, row in rows_of(store, first, last):
            health.observe(step, row)
        return
    table = MetricTable(store, first, last)
    started: list[tuple[int, int, Alert]] = []
    if not health.judged:
        health.note_measured(table.names)
    for number, (rule, condition) in enumerate(health.rules):
        prefilter = prefilter_of(condition, table, health.baselines)
        scan = _RuleScan(store, health, rule, condition, prefilter)
        started += [(alert.step, number, alert) for alert in scan.run(table)]
        health.rules[number] = rule, scan.condition
    # In the order in which `observe` appends them: by step, then by rule.
    health.alerts += [alert for *_, alert in sorted(started, key=lambda found: found[:2])]
    health.last_step = int(store.steps[end - 1])


class _RuleScan:
    """One rule over the rows of its metrics."""

    def __init__(
        self,
        store: SeriesStore,
        health: Health,
        rule: Rule,
        condition: Condition,
        prefilter: Prefilter,
    ) -> None:
        self.condition = condition
        self._store = store
        self._health = health
        self._rule = rule
        self._prefilter = prefilter

    def run(self, table: MetricTable) -> list[Alert]:
        """The alerts that start, in order; leaves `condition` as all rows would have left it."""
        columns = [steps for name in self._prefilter.metrics if len(steps := table.column(name)[0])]
        if not columns:
            return []
        steps = union(columns)
        marked = np.zeros(len(steps) + 1, bool)
        marked[steps.searchsorted(self._prefilter.steps)] = True
        marked[-1] = True  # One past the last row: the condition must be up to date there, too.
        marks = np.flatnonzero(marked)
        started: list[Alert] = []
        at = 0
        while at < len(steps):
            at = self._check_rows(steps, marked, at, started)
            # Jump to the next marked row: a fresh condition that has seen the rows of its memory
            # before it is in the same state as one that has seen all.
            target = int(marks[marks.searchsorted(at)])
            start = target - self._prefilter.memory
            if start > at:
                fresh = deepcopy(self._rule.condition)
                self._prefilter.prepare(fresh, self.condition, int(steps[target - 1]))
                for step, row in self._rows(steps, start, target):
                    fresh.remember(step, row, self._health.baselines)
                self.condition, at = fresh, target
        return started

    def _check_rows(self, steps: Ints, marked: np.ndarray, at: int, started: list[Alert]) -> int:
        """Check rows from `at` on until no episode is open and the memory has no marked row.

        Returns the position of the row after the last checked one.
        """
        quiet, memory = 0, self._prefilter.memory
        while at < len(steps):
            end = min(at + _ROWS_AT_ONCE, len(steps))
            for step, row in self._rows(steps, at, end):
                found = self.condition.check(step, row, self._health.baselines)
                if found is not None:
                    self._health.judged |= self._rule.severity != "notice"
                    started += self._health.judge(self._rule, step, found)
                quiet = 0 if found or marked[at] else quiet + 1
                at += 1
                if quiet >= memory and not self._health.is_open(self._rule):
                    return at
        return at

    def _rows(self, steps: Ints, begin: int, end: int) -> list[tuple[int, dict[str, float]]]:
        first, last = int(steps[begin]), int(steps[end - 1])
        return rows_of(self._store, first, last, self._prefilter.metrics)


if __name__ == "__main__":
    losses = np.full(10_000, 2.0)
    losses[7_000] = 9.0
    store, health = SeriesStore(), Health()
    store.extend(np.arange(1, 10_001), {"train/loss": (None, losses)})
    examine(store, health)
    print(health.verdict(), health.alerts)
    print("=== 自测通过 ===")
