"""What happens after a health alert: the batch is kept, and the configured actions are taken.

Rules and alerts are `engine.health.health_monitor`. Actions (`health.rollback`, `.checkpoint` and
`.pause`) are taken between steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lmm_tui.engine.health.health_monitor import HealthMonitor
from lmm_tui.engine.training.context import Host, TrainContext
from lmm_tui.engine.training.spike_keeper import RULES as SPIKE_RULES
from lmm_tui.engine.training.spike_keeper import SpikeKeeper
from lmm_tui.message import Message


class HealthActions:
    def __init__(self, host: Host, spikes: SpikeKeeper) -> None:
        config = host.config
        self.monitor = HealthMonitor(
            config.health,
            host.events,
            own_loop=True,  # Non-finite steps are the business of NonFinitePolicy.
            from_scratch=config.stage == "pretrain" and not config.start_from,
        )
        self.monitor.on_verdict = lambda verdict: host.status.update(verdict=verdict.record())
        self._spikes = spikes

    def observe(self, step: int, row: Mapping[str, float]) -> None:
        """Check a row that was logged; batches of spikes are flagged."""
        for alert in self.monitor.observe(step, row):
            if alert.rule in SPIKE_RULES:
                self._spikes.flag(alert.step, alert.rule, alert.what)

    def apply(
        self,
        context: TrainContext,
        *,
        roll_back: Callable[[], str],
        checkpoint: Callable[[], bool],
        pause: Callable[[], None],
    ) -> None:
        """Take the actions of new alerts; `roll_back` returns what it did, `checkpoint` whether
        one is being written."""
        for action, rule in self.monitor.due():
            if action == "rollback":
                done = roll_back()
            elif action == "checkpoint":
                done = Message(
                    "a checkpoint is written" if checkpoint() else "no checkpoint, the disk hangs"
                )
            else:
                pause()
                done = Message("paused; look at it, then go on (resume)")
            context.events.write(
                "alert",
                Message("{rule}: {done}", rule=rule, done=done),
                step=context.step,
                rule=rule,
            )


if __name__ == "__main__":
    from types import SimpleNamespace
    from typing import Any

    context: Any = SimpleNamespace(step=60)
    context.events = SimpleNamespace(write=lambda kind, text, **about: print(kind, text))
    demo: Any = SimpleNamespace(monitor=SimpleNamespace(due=lambda: [("pause", "loss_spike")]))
    HealthActions.apply(demo, context, roll_back=str, checkpoint=bool, pause=lambda: None)
    print("=== 自测通过 ===")
