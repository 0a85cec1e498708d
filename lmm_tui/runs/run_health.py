"""Is the run on the screen healthy? The rules over a session's numbers, brought up to date a look.

    health = RunHealth(session)
    ...                      # after each session.poll():
    seen = health.look()     # at most about a millisecond; a long run's backlog in 10 ms looks
    seen.verdict             # one line, such as "warning: train/loss is 40 …; suspect a bad batch"
    seen.open                # alerts whose episode goes on, the gravest first
    seen.alerts              # all of them: .step .severity .rule .what .suspect .advice .where

It reads the series alone, so live, finished and foreign runs are judged alike; it knows no screen.
"""

from __future__ import annotations

import logging
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lmm_tui.metrics.health.health import RULES, Alert, Health, Rule
from lmm_tui.metrics.health.rules_file import HealthConfigError, rules_of
from lmm_tui.metrics.health.scan import examine

if TYPE_CHECKING:
    from lmm_tui.engine.run.run_dir import RunDir
    from lmm_tui.engine.run.run_records import RunInfo
    from lmm_tui.runs.session import RunSession

_log = logging.getLogger(__name__)

_ROWS_A_TIME = 16
_BACKLOG = 2048
"""From so many rows on they are judged by the column, which takes longer and is sooner done."""
_BACKLOG_ROWS = 1 << 14
_GROWING = ("starting", "running", "stopping")
"""States in which the last row may still get more numbers."""


@dataclass(frozen=True)
class HealthView:
    """One look at the health of a run."""

    verdict: str
    open: tuple[Alert, ...]
    """Whose episode goes on, the gravest first."""
    alerts: tuple[Alert, ...]
    """All of the run, the oldest first."""
    complete: bool
    """Whether all that was read so far has been judged."""


class RunHealth:
    """The health of one session's run."""

    def __init__(self, session: RunSession) -> None:
        self._session = session
        try:
            self._rules = rules_of_run(session.run_dir)
        except HealthConfigError as error:
            _log.warning("%s; the usual rules are used", error)
            self._rules = RULES
        self._begin()

    def look(self, budget_s: float = 0.001) -> HealthView:
        """Judge the steps that are new, for at most about `budget_s` seconds.

        A run of which more than 2,048 rows wait is judged in parts of 16,384, some 10 ms a look.
        The last step of a training run waits for the next one: its row may still grow.
        """
        view, steps = self._session.view, self._session.series.steps
        seen = self._health.last_step
        replaced = seen is not None and (not len(steps) or seen > steps[-1])
        if replaced or _identity(view.info) != self._of:
            self._begin()  # Resumed, or begun anew: what was judged is no more.
            seen = None
        at = 0 if seen is None else int(steps.searchsorted(seen, side="right"))
        whole = len(steps) - (view.state in _GROWING)
        deadline = time.perf_counter() + budget_s
        while at < whole:
            rows = _ROWS_A_TIME if whole - at < _BACKLOG else _BACKLOG_ROWS
            at = min(at + rows, whole)
            examine(self._session.series, self._health, int(steps[at - 1]))
            if time.perf_counter() >= deadline:
                break
        alerts, still_open = tuple(self._health.alerts), tuple(self._health.open_alerts)
        return HealthView(self._health.verdict(), still_open, alerts, at >= whole)

    def _begin(self) -> None:
        self._of = _identity(self._session.view.info)
        self._health = Health(self._rules, self._of[1])


def _identity(info: RunInfo) -> tuple[float, dict[str, float]]:
    """Changes where a run is resumed, and once it knows the levels of its data."""
    return info.started, health_references(info)


def health_references(info: RunInfo) -> dict[str, float]:
    """Loss levels that rules may hold a run to: none where it began from trained weights."""
    fresh = info.stage == "pretrain" and not info.parent
    return info.references if fresh else {}


def rules_of_run(run_dir: RunDir) -> tuple[Rule, ...]:
    """The rules of a run's own configuration; the usual ones where it has none.

    Raises HealthConfigError where the file that it names can't be used.
    """
    try:
        section = tomllib.loads(run_dir.config.read_text(encoding="utf-8")).get("health", {})
    except (OSError, ValueError):
        section = {}
    file = section.get("rules")
    return rules_of(Path(file) if file else None, section.get("thresholds", ()))


if __name__ == "__main__":
    import tempfile

    from lmm_tui.runs.session import RunSession

    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "train.log"
        log.write_text("".join(f"step: {at}, loss: 2.5\n" for at in range(1, 100)))
        session = RunSession(log)
        session.poll()
        health = RunHealth(session)
        print(health.look(1).verdict)
        with log.open("a") as more:
            more.write("step: 100, loss: 90\nstep: 101, loss: 2.5\n")
        session.poll()
        found = health.look(1)
        print(found.verdict, found.open[0].advice)
        assert [alert.step for alert in found.alerts] == [100]
    print("=== 自测通过 ===")
