"""Health beside training: each logged row is looked at, and what is wrong becomes an event.

Knows the rules and the `[health]` section; what pausing, saving or rolling back means is the
caller's. A row costs about 20 µs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lmm_tui.engine.health.notifications import Notifier
from lmm_tui.engine.run.events import EventLog, Level
from lmm_tui.errors import LmmError
from lmm_tui.metrics.health.alerts import Alert, Health
from lmm_tui.metrics.health.rules import RULES, Rule
from lmm_tui.metrics.health.rules_file import rules_of
from lmm_tui.metrics.health.scan import examine
from lmm_tui.metrics.readers.json_lines import parse
from lmm_tui.metrics.series.rows import Row, add_rows
from lmm_tui.metrics.series.series import SeriesStore

if TYPE_CHECKING:
    from lmm_tui.engine.config.config import HealthConfig

Action = Literal["rollback", "checkpoint", "pause"]
ACTIONS: tuple[Action, ...] = ("rollback", "checkpoint", "pause")
"""In the order in which they are done."""

_LEVELS: dict[str, Level] = {"notice": "info", "warning": "warning", "error": "error"}
_LOOK_BACK = 4096
"""Steps before a resume that say which episodes go on; no rule remembers that many."""

_TAIL_BYTES = 16 << 20

_BAD_STEP = next(rule for rule in RULES if rule.name == "non_finite")
BAD_STEP = {"rule": _BAD_STEP.name, "suspect": _BAD_STEP.suspect, "advice": _BAD_STEP.advice}
"""What an event about a step that was left out adds."""


class HealthMonitorError(LmmError):
    """A `[health]` section that names no rule."""


class HealthMonitor:
    """The health of one run while it trains; call it in the thread that logs."""

    def __init__(
        self, section: HealthConfig, events: EventLog, *, bad_steps: bool, from_scratch: bool
    ) -> None:
        """`bad_steps`: whether losses that are no numbers are judged here too. `from_scratch`:
        whether the model begins untrained, so that levels of the data say something of it.

        Raises HealthConfigError or HealthWatchError where the section can't be used.
        """
        self._rules = _rules(section, bad_steps)
        self._actions: dict[Action, set[str]] = {
            action: set(getattr(section, action)) for action in ACTIONS
        }
        if section.enable:
            _refuse_unknown(self._actions, {rule.name for rule in self._rules})
        self._from_scratch = from_scratch
        self._health = Health(self._rules)
        self._events = events
        self._notices = Notifier(section.webhook, section.command, self._tell_failure)
        self._due: list[tuple[Action, str]] = []
        self._step = 0

    def hold_to(self, references: Mapping[str, float]) -> None:
        """Loss levels of the data, nats; they say nothing of a model that was trained before."""
        self._health = Health(self._rules, references if self._from_scratch else None)

    def catch_up(self, metrics: Path, step: int) -> None:
        """Look at what was logged up to `step` without a word: it was told before."""
        store = SeriesStore()
        add_rows(store, _last_rows(metrics))
        self._health.last_step = step - _LOOK_BACK
        examine(store, self._health, step)

    def observe(self, step: int, row: Mapping[str, float]) -> list[Alert]:
        """Look at a row; what begins with it is an event, and returned."""
        self._step = step
        begun = self._health.observe(step, row)
        for alert in begun:
            self._tell(alert)
        return begun

    def due(self) -> list[tuple[Action, str]]:
        """What the configuration wants done now, each with the rule that asks for it."""
        due, self._due = self._due, []
        return sorted(due, key=lambda pair: ACTIONS.index(pair[0]))

    def close(self) -> None:
        """Let notices that are on their way arrive, for a few seconds."""
        self._notices.close()

    def _tell(self, alert: Alert) -> None:
        about = {key: value for key, value in alert.record().items() if key not in ("step", "what")}
        level = _LEVELS[alert.severity]
        self._events.write("alert", alert.what, step=alert.step, level=level, **about)
        self._notices.send(json.dumps(alert.record(), ensure_ascii=False))
        self._due += [(action, alert.rule) for action in ACTIONS if alert.rule in
                      self._actions[action]]  # fmt: skip

    def _tell_failure(self, sentence: str) -> None:
        self._events.write("alert", sentence, step=self._step, level="warning")


def _last_rows(metrics: Path) -> list[Row]:
    """Those in the last megabytes of a file, which may be long."""
    if not metrics.exists():
        return []
    with metrics.open("rb") as file:
        file.seek(max(file.seek(0, 2) - _TAIL_BYTES, 0))
        lines = file.read().split(b"\n")
    return [row for line in lines if line and (row := parse(line)) is not None]


def _rules(section: HealthConfig, bad_steps: bool) -> tuple[Rule, ...]:
    if not section.enable:
        return ()
    rules = rules_of(Path(section.rules) if section.rules else None, section.thresholds)
    return tuple(rule for rule in rules if bad_steps or rule.name != _BAD_STEP.name)


def _refuse_unknown(actions: Mapping[Action, set[str]], rules: set[str]) -> None:
    for action, asked in actions.items():
        unknown = sorted(asked - rules)
        if _BAD_STEP.name in unknown:
            raise HealthMonitorError(
                f"health.{action}: {_BAD_STEP.name} is answered by train.on_nonfinite; set that"
            )
        if unknown:
            raise HealthMonitorError(
                f"health.{action}: no rule is called {unknown[0]!r}; "
                f"choose from {', '.join(sorted(rules))}"
            )


if __name__ == "__main__":
    import tempfile
    from types import SimpleNamespace

    from lmm_tui.engine.run.run_dir import RunDir

    section = SimpleNamespace(
        enable=True, rules=None, thresholds=["heat > 85"], pause=["heat > 85"], checkpoint=[],
        rollback=[], webhook=None, command=None,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        log = EventLog(RunDir(folder))
        watch = HealthMonitor(section, log, bad_steps=True, from_scratch=False)  # type: ignore[arg-type]
        for at in range(1, 20):
            watch.observe(at, {"heat": 90.0, "train/loss": 2.0})
        print(RunDir(folder).events.read_text(), watch.due())
        assert len(RunDir(folder).events.read_text().splitlines()) == 1 and not watch.due()
        watch.close()
        log.close()
    print("=== 自测通过 ===")
