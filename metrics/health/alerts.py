"""Health of a run: rules applied to its rows, and the alerts and verdict that come of it.

A rule that finds something opens an episode, with one alert; the episode ends after some rows
without a finding. It works on numbers alone, so on live, finished and foreign runs alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

from lmm_tui.metrics import names
from lmm_tui.metrics.health.condition import HealthFinding
from lmm_tui.metrics.health.rules import RULES, SEVERITIES, Rule, Severity
from lmm_tui.metrics.values import strict


@dataclass(frozen=True)
class Alert:
    """The start of an episode of one rule, in one layer or for the whole run."""

    step: int
    rule: str
    severity: Severity
    what: str
    suspect: str
    advice: str
    values: dict[str, float]
    where: str = ""

    def record(self) -> dict[str, Any]:
        """As strict JSON: non-finite numbers are strings."""
        record: dict[str, Any] = strict(asdict(self))
        return record


_FEW = 6
"""So many metrics are named where none can be judged."""


class Health:
    """Applies rules to the rows of one run: feed rows in order, read alerts and the verdict."""

    def __init__(
        self, rules: Iterable[Rule] = RULES, baselines: Mapping[str, float] | None = None
    ) -> None:
        """`baselines`: loss levels in nats (`ln V`, `unigram`, `bigram`) of a run that starts from
        random weights; omit them for one that starts from trained weights."""
        self.alerts: list[Alert] = []
        self.last_step: int | None = None
        self.rules = [(rule, deepcopy(rule.condition)) for rule in rules]
        """Each with a condition of its own, which remembers the rows so far."""
        self.baselines = dict(baselines or {})
        self.judged = False
        """Whether any rule that warns had what it needs, in any row."""
        self._measured: dict[str, None] = {}
        """The metrics that there were instead."""
        self._open: dict[tuple[str, str], tuple[Alert, int]] = {}
        """By rule and layer: the alert of the episode, and its judged rows without a finding."""

    def observe(self, step: int, row: Mapping[str, float]) -> list[Alert]:
        """The alerts that start at a row; `row` maps metrics to their values at `step`."""
        self.last_step = step
        started: list[Alert] = []
        for rule, condition in self.rules:
            found = condition.check(step, row, self.baselines)
            if not self.judged and found is not None:
                self.judged = rule.severity != "notice"
            if found is not None and (found or self._open):
                started += self.judge(rule, step, found)
        self.alerts += started
        if not self.judged:
            self.note_measured(row)
        return started

    def note_measured(self, metrics: Iterable[str]) -> None:
        """Remember which metrics there are, for when no rule can judge any of them."""
        self._measured |= dict.fromkeys(metrics)

    def judge(self, rule: Rule, step: int, found: list[HealthFinding]) -> list[Alert]:
        """The alerts that start with the findings of a rule in a row that it could judge."""
        started: list[Alert] = []
        for finding in found:
            key = rule.name, finding.where
            if key not in self._open:
                started.append(
                    Alert(step, rule.name, rule.severity, finding.what, rule.suspect,
                          rule.advice, finding.values, finding.where)
                )  # fmt: skip
                self._open[key] = started[-1], 0
        if self._open:
            self._close_calm_episodes(rule, {finding.where for finding in found})
        return started

    def is_open(self, rule: Rule) -> bool:
        """Whether an episode of a rule is open."""
        return any(name == rule.name for name, _ in self._open)

    @property
    def open_alerts(self) -> list[Alert]:
        """Alerts whose episode is open, the most severe first, then the oldest."""
        alerts = [alert for alert, _ in self._open.values()]
        return sorted(alerts, key=lambda it: (-SEVERITIES.index(it.severity), it.step))

    def verdict(self) -> str:
        """The state of the run in one line."""
        if self.last_step is None:
            return "nothing measured yet"
        worst = self.open_alerts
        if worst:
            more = f" (and {len(worst) - 1} more)" if len(worst) > 1 else ""
            return f"{worst[0].severity}: {worst[0].what}; suspect {worst[0].suspect}{more}"
        if self.alerts:
            count = len(self.alerts)
            plural = "s" if count > 1 else ""
            return f"healthy now, {count} alert{plural} before (last: step {self.alerts[-1].step})"
        if not self.judged:
            first = ", ".join(list(self._measured)[:_FEW])
            others = ", …" if len(self._measured) > _FEW else ""
            return f"nothing could be judged: no loss in this log; it has {first}{others}"
        return f"healthy up to step {self.last_step}"

    def _close_calm_episodes(self, rule: Rule, found: set[str]) -> None:
        """Count a row without a finding for each open episode of a rule outside of `found`."""
        for key in [key for key in self._open if key[0] == rule.name]:
            alert, calm = self._open[key]
            calm = 0 if key[1] in found else calm + 1
            if calm >= rule.calm:
                del self._open[key]
            else:
                self._open[key] = alert, calm


if __name__ == "__main__":
    health = Health(baselines={"ln V": 6.9})
    for step in range(1, 200):
        health.observe(step, {names.TRAIN_LOSS: 40.0 if step == 150 else 6.9 * 0.99**step})
    print(health.verdict(), health.alerts, sep="\n")
    print("=== 自测通过 ===")
