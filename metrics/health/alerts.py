"""Health of a run: rules applied to its rows, and the alerts that come of it.

A rule that finds something opens an episode, with one alert; the episode ends after some rows
without a finding. It works on numbers alone, so on live, finished and foreign runs alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass

import numpy as np

from lmm_tui.metrics import names
from lmm_tui.metrics.health.alert import SEVERITIES, Alert
from lmm_tui.metrics.health.condition import Condition, Judged
from lmm_tui.metrics.health.episodes import Episodes
from lmm_tui.metrics.health.rolling import Windows
from lmm_tui.metrics.health.rows import HealthRows, OneRow, RowBlock
from lmm_tui.metrics.health.rules import RULES, Rule
from lmm_tui.metrics.series.row_values import MAX_STEP
from lmm_tui.metrics.series.rows import rows_of
from lmm_tui.metrics.series.series import SeriesStore

_FEW = 64
"""Up to so many rows are checked faster one by one."""
_BLOCK = 1 << 14


@dataclass
class _Watch:
    """A rule with what it remembers of the run."""

    rule: Rule
    condition: Condition
    episodes: Episodes
    alerts: dict[str, Alert]
    """The last of each layer."""


class Health:
    """Applies rules to the rows of one run: feed rows in order, read alerts.

    `metrics.health.verdict` makes a verdict of them.
    """

    def __init__(
        self, rules: Iterable[Rule] = RULES, baselines: Mapping[str, float] | None = None
    ) -> None:
        """`baselines`: loss levels in nats (`ln V`, `unigram`, `bigram`) of a run that starts from
        random weights; omit them for one that starts from trained weights."""
        self.alerts: list[Alert] = []
        self.last_step: int | None = None
        self.baselines = dict(baselines or {})
        self.judged = False
        """Whether any rule that warns had what it needs, in any row."""
        self._watches = [
            _Watch(rule, deepcopy(rule.condition), Episodes(rule.calm), {}) for rule in rules
        ]
        self._windows = Windows()
        self._reading: dict[tuple[str, ...], list[_Watch]] = {}
        """The rules that can judge rows with some metrics."""
        self._measured: dict[str, None] = {}
        """The metrics that there were instead."""

    def observe(self, step: int, row: Mapping[str, float]) -> list[Alert]:
        """The alerts that start at a row; `row` maps metrics to their values at `step`."""
        return self._check(OneRow(step, row, self._windows), step)

    def observe_block(self, store: SeriesStore, first: int, last: int) -> list[Alert]:
        """The alerts that start in the rows of a store from one step to another, both included."""
        return self._check(RowBlock(store, first, last, self._windows), last)

    @property
    def measured(self) -> list[str]:
        """The metrics of a run of which none could be judged so far."""
        return list(self._measured)

    @property
    def open_alerts(self) -> list[Alert]:
        """Alerts whose episode is open, the most severe first, then the oldest."""
        alerts = [watch.alerts[where] for watch in self._watches for where in watch.episodes.open]
        return sorted(alerts, key=lambda it: (-SEVERITIES.index(it.severity), it.step))

    @property
    def open_key(self) -> str:
        """Changes whenever an episode begins or ends, and once something was judged."""
        opened = [
            (watch.rule.name, *watch.episodes.open)
            for watch in self._watches
            if watch.episodes.open
        ]  # fmt: skip
        return f"{len(self.alerts)}, {self.judged}, {opened}"

    def _check(self, rows: HealthRows, last: int) -> list[Alert]:
        self.last_step = last
        started: list[Alert] = []
        baselines = self.baselines
        for watch in self._reading.get(rows.metrics) or self._readers_of(rows.metrics):
            judged = watch.condition.check(rows, baselines)
            if not judged.rows:
                continue
            if not self.judged:
                self.judged = watch.rule.severity != "notice"
            if judged.found or watch.episodes.open:
                started += self._begin(watch, judged)
        if not self.judged:
            self._measured |= dict.fromkeys(rows.metrics)
        if started:
            started.sort(key=lambda alert: alert.step)
            self.alerts += started
        return started

    def _readers_of(self, metrics: tuple[str, ...]) -> list[_Watch]:
        if len(self._reading) >= _FEW:  # A run has few different sets of metrics.
            self._reading.clear()
        reading = [it for it in self._watches if not set(it.condition.needs()).difference(metrics)]
        self._reading[metrics] = reading
        return reading

    def _begin(self, watch: _Watch, judged: Judged) -> list[Alert]:
        rule, started = watch.rule, []
        for step, where, found in watch.episodes.take(judged):
            alert = Alert(step, rule.name, rule.severity, found.what, rule.suspect, rule.advice,
                          found.values, where)  # fmt: skip
            watch.alerts[where] = alert
            started.append(alert)
        return started


def examine(store: SeriesStore, health: Health, last: int = MAX_STEP) -> None:
    """Let `health` observe the rows of a store after its last step, up to the step `last`."""
    first = -MAX_STEP if health.last_step is None else health.last_step + 1
    begin, end = store.steps.searchsorted([first, last + 1]).tolist()
    if end - begin <= _FEW:
        for step, row in rows_of(store, first, last):
            health.observe(step, row)
        return
    for start in range(begin, end, _BLOCK):
        steps = store.steps[start : min(start + _BLOCK, end)]
        health.observe_block(store, int(steps[0]), int(steps[-1]))


if __name__ == "__main__":
    losses = np.asarray(6.9 * 0.99 ** np.arange(1, 200), dtype=np.float64)
    losses[149] = 40.0
    store, health = SeriesStore(), Health(baselines={"ln V": 6.9})
    store.extend(np.arange(1, 200), {names.TRAIN_LOSS: (None, losses)})
    examine(store, health)
    print(health.alerts)
    print("=== 自测通过 ===")
