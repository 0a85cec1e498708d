"""What happens after a step whose loss or gradient is not finite: `train.on_nonfinite`.

The update of such a step is skipped in any case (`engine.training.non_finite`). Then training
continues, goes back to the last checkpoint, pauses, or stops. Several such steps in a row are one
alert.
"""

from __future__ import annotations

from collections.abc import Callable

from lmm_tui.engine.health.health_monitor import BAD_STEP
from lmm_tui.engine.training.context import TrainContext
from lmm_tui.engine.training.observer import StepMetrics
from lmm_tui.engine.training.spike_keeper import SpikeKeeper
from lmm_tui.errors import LmmError
from lmm_tui.message import Message


class DivergedError(LmmError):
    """A non-finite loss or gradient, where the configuration says to stop then."""


class NonFinitePolicy:
    def __init__(self, context: TrainContext, spikes: SpikeKeeper) -> None:
        self._context = context
        self._spikes = spikes
        self._skipped: StepMetrics | None = None
        self._alerted = False
        """Whether an alert was written since the last finite step."""

    def observe(self, reading: StepMetrics) -> None:
        """Take note of a step; called as soon as its numbers are read."""
        if not reading.skipped:
            self._alerted = self._context.rolled_back = False
            return
        self._skipped = reading
        if not self._alerted:
            what = Message(
                "loss is {loss}, gradient norm {norm}", loss=reading.loss, norm=reading.norm
            )
            self._spikes.flag(reading.step, BAD_STEP["rule"], what)

    def apply(self, roll_back: Callable[[], str], pause: Callable[[], None]) -> None:
        """Do what the configuration says about a step that was skipped since the last call.

        `roll_back` returns what it did. Raises DivergedError where training is to stop.
        """
        skipped, self._skipped = self._skipped, None
        if skipped is None:
            return
        policy = self._context.config.train.on_nonfinite
        what = Message(
            "loss is {loss}, gradient norm {norm}: step left out",
            loss=skipped.loss,
            norm=skipped.norm,
        )
        if policy == "rollback" and not self._context.rolled_back:
            what = Message("{what}, {done}", what=what, done=roll_back())
        elif policy == "pause":
            what = Message(
                "{what}, paused; lower the learning rate (set lr=…) or go on (resume)", what=what
            )
            pause()
        elif policy != "stop":
            what = Message("{what}; lower the learning rate if more follow", what=what)
        if not self._alerted or policy == "stop":
            self._context.events.write("alert", what, step=skipped.step, level="error", **BAD_STEP)
        self._alerted = True
        if policy == "stop":
            raise DivergedError(
                "step {step}: {what}, and train.on_nonfinite is stop; resume "
                "with a lower optim.lr, or with train.on_nonfinite skip",
                step=skipped.step,
                what=what,
            )


if __name__ == "__main__":
    from types import SimpleNamespace
    from typing import Any

    train = SimpleNamespace(on_nonfinite="skip")
    context: Any = SimpleNamespace(config=SimpleNamespace(train=train), rolled_back=False)
    context.events = SimpleNamespace(write=lambda kind, text, **about: print(kind, text))
    spikes: Any = SimpleNamespace(flag=print)
    policy = NonFinitePolicy(context, spikes)
    policy.observe(StepMetrics(7, float("nan"), 1.0, skipped=True))
    policy.apply(lambda: "rolled back", lambda: None)
    print("=== 自测通过 ===")
