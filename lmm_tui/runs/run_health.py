"""Health rules applied to the series of a session, step by step as they are read.

    health = RunHealth(session)
    ...                      # after each session.poll():
    view = health.look()     # takes about a millisecond; in a long backlog about 10 ms
    view.verdict             # its .level, .headline, .text and .findings
    view.alerts              # all alerts: .step .severity .rule .what .suspect .advice .where

Only the series are read, so live, finished and foreign runs are treated alike.
"""

from __future__ import annotations

import logging
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lmm_tui.guarded_files import read_text
from lmm_tui.metrics.health.alert import Alert
from lmm_tui.metrics.health.alerts import Health, examine
from lmm_tui.metrics.health.rules import RULES, Rule, in_our_trainer
from lmm_tui.metrics.health.rules_file import HealthConfigError, rules_of
from lmm_tui.metrics.health.verdict import Verdict, verdict_of, with_end

if TYPE_CHECKING:
    from lmm_tui.engine.run.reader import Reader
    from lmm_tui.engine.run.run_dir import RunDir
    from lmm_tui.engine.run.run_records import RunInfo

_log = logging.getLogger(__name__)

_CHUNK = 16
_BACKLOG = 2048
"""From this many unread rows on, chunks are large: the rules then work on whole columns, which
takes longer per call and less time in total."""
_BACKLOG_CHUNK = 1 << 14


@dataclass(frozen=True)
class HealthView:
    """A snapshot of a run's health."""

    verdict: Verdict
    alerts: tuple[Alert, ...]
    """All alerts of the run, the oldest first."""
    complete: bool
    """Whether all rows read so far have been checked."""


class RunHealth:
    """The health of one session's run."""

    def __init__(self, session: Reader) -> None:
        self._session = session
        try:
            self._rules = rules_of_run(session.run_dir)
        except HealthConfigError as error:
            _log.warning("%s; the usual rules are used", error)
            self._rules = RULES
        self._begin()

    def look(self, budget_s: float = 0.001) -> HealthView:
        """Check new steps for at most about `budget_s` seconds.

        With more than 2,048 rows waiting, they are checked 16,384 at a time, about 10 ms a call.
        The last step of a live run waits for the next one, because its row may still grow.
        """
        view, steps = self._session.view, self._session.series.steps
        seen = self._health.last_step
        replaced = seen is not None and (not len(steps) or seen > steps[-1])
        if replaced or _identity(view.info) != self._checked:
            self._begin()  # The run was resumed or restarted: earlier rows were replaced.
            seen = None
        at = 0 if seen is None else int(steps.searchsorted(seen, side="right"))
        whole = len(steps) - view.growing
        deadline = time.perf_counter() + budget_s
        while at < whole:
            rows = _CHUNK if whole - at < _BACKLOG else _BACKLOG_CHUNK
            at = min(at + rows, whole)
            examine(self._session.series, self._health, int(steps[at - 1]))
            if time.perf_counter() >= deadline:
                break
        verdict = _verdict(self._session, self._health)
        return HealthView(verdict, tuple(self._health.alerts), at >= whole)

    def _begin(self) -> None:
        self._checked = _identity(self._session.view.info)
        self._health = Health(self._rules, self._checked[1])


def judge(session: Reader, rules: Sequence[Rule] | None = None) -> tuple[Health, Verdict]:
    """The health of a session that has read its run, by the run's own rules if none are given.

    Raises HealthConfigError if the rules file of the run cannot be used.
    """
    chosen = rules_of_run(session.run_dir) if rules is None else rules
    health = Health(chosen, health_references(session.view.info))
    examine(session.series, health)
    return health, _verdict(session, health)


def _verdict(session: Reader, health: Health) -> Verdict:
    view = session.view
    return with_end(verdict_of(health), view.state, view.status.error, view.status.step)


def _identity(info: RunInfo) -> tuple[float, dict[str, float]]:
    """Changes when the run is resumed and when its baselines become known."""
    return info.started, health_references(info)


def health_references(info: RunInfo) -> dict[str, float]:
    """Baselines for the rules: none for a run that started from trained weights."""
    fresh = info.stage == "pretrain" and not info.parent
    return info.references if fresh else {}


def rules_of_run(run_dir: RunDir) -> tuple[Rule, ...]:
    """The rules in the run's configuration, else the default ones.

    Raises HealthConfigError if the rules file it names cannot be used.
    """
    try:
        section = tomllib.loads(read_text(run_dir.config, run_dir.path)).get("health", {})
        file, thresholds = section.get("rules"), section.get("thresholds", ())
    except (OSError, ValueError, AttributeError, RecursionError):
        return RULES
    if not (isinstance(file, str | None) and all(isinstance(one, str) for one in thresholds)):
        raise HealthConfigError(
            "{config}: health: holds no settings of rules; correct it", config=run_dir.config
        )
    # Only our own loop writes a configuration.
    return rules_of(Path(file) if file else None, thresholds, in_our_trainer())


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.run.reader import Reader

    with tempfile.NamedTemporaryFile("w", suffix=".log", buffering=1) as log:
        log.write("".join(f"step: {at}, loss: {90 if at == 99 else 2.5}\n" for at in range(1, 102)))
        session = Reader(log.name)
        session.poll()
        print(RunHealth(session).look(1))
    print("=== 自测通过 ===")
