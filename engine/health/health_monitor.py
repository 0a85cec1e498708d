"""Health rules applied to each logged row while a run trains; alerts become events.

The caller carries out the actions (pause, checkpoint, rollback) that `due` returns. A row costs
about 20 µs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lmm_tui.engine.health.notifications import Notifier, alert_channels
from lmm_tui.engine.run.events import EventLog, Level
from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import kind_of, reading
from lmm_tui.metrics.health.alert import Alert
from lmm_tui.metrics.health.alerts import Health, examine
from lmm_tui.metrics.health.rules import RULES, Rule, in_our_trainer
from lmm_tui.metrics.health.rules_file import rules_of
from lmm_tui.metrics.health.verdict import Verdict, verdict_of
from lmm_tui.metrics.readers.json_lines import parse
from lmm_tui.metrics.series.rows import Row, add_rows
from lmm_tui.metrics.series.series import SeriesStore

if TYPE_CHECKING:
    from lmm_tui.engine.config.sections.health_config import HealthConfig

Action = Literal["rollback", "checkpoint", "pause"]
ACTIONS: tuple[Action, ...] = ("rollback", "checkpoint", "pause")
"""In order of execution."""

_LEVELS: dict[str, Level] = {"notice": "info", "warning": "warning", "error": "error"}
_LOOK_BACK = 4096
"""Steps before a resume that restore the rules' state; no rule looks further back."""

_TAIL_BYTES = 16 << 20

_BAD_STEP = next(rule for rule in RULES if rule.name == "non_finite")
BAD_STEP = {"rule": _BAD_STEP.name, "suspect": _BAD_STEP.suspect, "advice": _BAD_STEP.advice}
"""Additional fields of an event about a skipped step."""


@dataclass(frozen=True)
class DueAction:
    """What the configuration says is done after an alert."""

    action: Action
    rule: str
    sound_before: int
    """Weights of this step, or of a later one, may be bad."""


class HealthMonitorError(LmmError):
    """A `[health]` section that names an unknown rule."""


class HealthMonitor:
    """Monitors one run; call it from the thread that logs."""

    def __init__(
        self, section: HealthConfig, events: EventLog, *, own_loop: bool, from_scratch: bool
    ) -> None:
        """`own_loop`: whether our own loop trains, which answers non-finite steps itself.
        `from_scratch`: whether the model starts untrained, so that its loss is compared with the
        baselines.

        Raises HealthConfigError or HealthMonitorError if the section is invalid.
        """
        self._rules = checked_rules(section, own_loop)
        self._answered = {_BAD_STEP.name} if own_loop else set()
        """Rules whose alerts are not published: somebody else does."""
        self._actions = _actions_of(section)
        self._from_scratch = from_scratch
        self._health = Health(self._rules)
        self._events = events
        webhook, command = (section.webhook, section.command) if section.enable else (None, None)
        self._notifier = Notifier(alert_channels(webhook, command), self._tell_failure)
        self._due: list[DueAction] = []
        self._step = 0
        self.on_verdict: Callable[[Verdict], object] = lambda verdict: None
        """Called with each new verdict."""
        self._told = ""

    def hold_to(self, references: Mapping[str, float]) -> None:
        """Set the baselines of the data, in nats; they apply to untrained models only."""
        self._health = Health(self._rules, references if self._from_scratch else None)

    def catch_up(self, metrics: Path, step: int) -> None:
        """Restore the rules' state from the rows up to `step`, without repeating their alerts."""
        store = SeriesStore()
        add_rows(store, _last_rows(metrics))
        self._health.last_step = step - _LOOK_BACK
        examine(store, self._health, step)
        self._tell_verdict()

    def observe(self, step: int, row: Mapping[str, float]) -> list[Alert]:
        """Apply the rules to a row; new alerts are written as events and returned."""
        self._step = step
        alerts = self._health.observe(step, row)
        told = [alert for alert in alerts if alert.rule not in self._answered]
        for alert in told:
            self._publish(alert)
        self._tell_verdict()
        return told

    def _tell_verdict(self) -> None:
        # A verdict on a healthy run names the last step in its text: told once is enough.
        key = self._health.open_key
        if self._rules and key != self._told:
            self._told = key
            self.on_verdict(verdict_of(self._health))

    def due(self) -> list[DueAction]:
        """The actions configured for the alerts since the last call."""
        if not self._due:
            return []
        due, self._due = self._due, []
        return sorted(due, key=lambda it: ACTIONS.index(it.action))

    def diverged_from(self) -> int | None:
        """Weights of this step, or of a later one, are of a run that has diverged; None: not so."""
        for found in verdict_of(self._health).findings:
            if any(alert.rule == "diverged" for alert in found.alerts):
                return found.sound_before
        return None

    def close(self) -> None:
        """Wait a few seconds for pending notifications."""
        self._notifier.close()

    def _publish(self, alert: Alert) -> None:
        about = {key: value for key, value in alert.record().items() if key not in ("step", "what")}
        level = _LEVELS[alert.severity]
        self._events.write("alert", alert.what, step=alert.step, level=level, **about)
        self._notifier.send(json.dumps(alert.record(), ensure_ascii=False))
        actions = [action for action in ACTIONS if alert.rule in self._actions[action]]
        if actions:
            found = next(it for it in verdict_of(self._health).findings if alert in it.alerts)
            self._due += [DueAction(it, alert.rule, found.sound_before) for it in actions]

    def _tell_failure(self, sentence: str) -> None:
        self._events.write("alert", sentence, step=self._step, level="warning")


def _last_rows(metrics: Path) -> list[Row]:
    """The rows in the last megabytes of a file."""
    if kind_of(metrics, metrics.parent) is None:
        return []
    with reading(metrics, metrics.parent) as file:
        file.seek(max(file.seek(0, 2) - _TAIL_BYTES, 0))
        lines = file.read().split(b"\n")
    return [row for line in lines if line and (row := parse(line)) is not None]


def checked_rules(section: HealthConfig, own_loop: bool) -> tuple[Rule, ...]:
    """The rules in force. Raises HealthConfigError or HealthMonitorError for an invalid section."""
    rules = _rules(section, own_loop)
    if section.enable:
        answered = {_BAD_STEP.name} if own_loop else set()
        _refuse_unknown(_actions_of(section), {rule.name for rule in rules} - answered)
    return rules


def _actions_of(section: HealthConfig) -> dict[Action, set[str]]:
    return {action: set(getattr(section, action)) for action in ACTIONS}


def _rules(section: HealthConfig, own_loop: bool) -> tuple[Rule, ...]:
    if not section.enable:
        return ()
    file = Path(section.rules) if section.rules else None
    return rules_of(file, section.thresholds, in_our_trainer() if own_loop else RULES)


def _refuse_unknown(actions: Mapping[Action, set[str]], rules: set[str]) -> None:
    for action, wanted in actions.items():
        unknown = sorted(wanted - rules)
        if _BAD_STEP.name in unknown:
            raise HealthMonitorError(
                "health.{action}: {name} is answered by train.on_nonfinite; set that",
                action=action,
                name=_BAD_STEP.name,
            )
        if unknown:
            raise HealthMonitorError(
                "health.{action}: no rule is called {unknown!r}; choose from {rules}",
                action=action,
                unknown=unknown[0],
                rules=sorted(rules),
            )


if __name__ == "__main__":
    from lmm_tui.engine.config.resolve import resolve

    section = resolve(assignments={"health.thresholds": ["heat > 85"]}).health
    print(*(rule.name for rule in _rules(section, own_loop=True)))
    print("=== 自测通过 ===")
