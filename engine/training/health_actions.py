"""What happens after a health alert: the batch is kept, and the configured actions are taken.

Rules and alerts are `engine.health.health_monitor`. Actions (`health.rollback`, `.checkpoint` and
`.pause`) are taken between steps.
"""

from __future__ import annotations

from collections.abc import Mapping

from lmm_tui.engine.health.health_monitor import DueAction, HealthMonitor
from lmm_tui.engine.training.checkpointing import Checkpointer
from lmm_tui.engine.training.context import TrainContext
from lmm_tui.engine.training.rollback import Rollback
from lmm_tui.engine.training.spike_keeper import RULES as SPIKE_RULES
from lmm_tui.engine.training.spike_keeper import SpikeKeeper
from lmm_tui.message import Message


class HealthActions:
    """Reads each row that is logged; may go back to a checkpoint, write one, or pause."""

    is_for_leader = True

    def __init__(
        self,
        context: TrainContext,
        spikes: SpikeKeeper,
        rollback: Rollback,
        checkpoints: Checkpointer,
    ) -> None:
        self._context = context
        self._spikes, self._rollback, self._checkpoints = spikes, rollback, checkpoints
        asked = context.job.config
        self._monitor = HealthMonitor(
            asked.health,
            context.events,
            own_loop=True,  # Non-finite steps are the business of NonFinitePolicy.
            from_scratch=asked.stage == "pretrain" and not asked.start_from,
        )
        self._monitor.on_verdict = lambda verdict: context.status.update(verdict=verdict.record())
        self._monitor.hold_to(context.stage.baselines)
        context.run.on_row(self._observe)
        context.run.on_close(self._monitor.close)

    def catch_up(self) -> None:
        """Restore the state of the rules from the rows up to the present step."""
        self._monitor.catch_up(self._context.run_dir.metrics, self._context.step)

    def diverged_from(self) -> int | None:
        """Weights of this step, or of a later one, are of a run that has diverged; None: not so."""
        return self._monitor.diverged_from()

    def decide(self) -> list[DueAction] | None:
        return self._monitor.due() or None

    def act(self, due: list[DueAction]) -> None:
        context = self._context
        for one in due:
            done = self._take(one)
            context.events.write(
                "alert",
                Message("{rule}: {done}", rule=one.rule, done=done),
                step=context.step,
                rule=one.rule,
            )

    def _take(self, due: DueAction) -> str:
        """What was done, in a sentence."""
        if due.action == "rollback":
            return self._rollback.roll_back_and_lower_lr(due.sound_before)
        if due.action == "checkpoint":
            begun = self._checkpoints.begin_unless_stuck()
            return Message("a checkpoint is written" if begun else "no checkpoint, the disk hangs")
        self._context.run.commands.pause()
        return Message("paused; inspect it, then resume")

    def _observe(self, step: int, row: Mapping[str, float]) -> None:
        """Check a row; batches of spikes are flagged."""
        for alert in self._monitor.observe(step, row):
            if alert.rule in SPIKE_RULES:
                self._spikes.flag(alert.step, alert.rule, alert.what)


if __name__ == "__main__":
    from types import SimpleNamespace
    from typing import Any

    demo: Any = SimpleNamespace(_context=SimpleNamespace(run=SimpleNamespace()))
    demo._context.run.commands = SimpleNamespace(pause=lambda: None)
    print(HealthActions._take(demo, DueAction("pause", "loss_spike", 7)))
    print("=== 自测通过 ===")
