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
from lmm_tui.engine.training.rollback import Rollback
from lmm_tui.engine.training.spike_keeper import SpikeKeeper
from lmm_tui.engine.training.step_reader import StepReader
from lmm_tui.errors import LmmError
from lmm_tui.message import Message


class DivergedError(LmmError):
    """A non-finite loss or gradient, where the configuration says to stop then."""


class NonFinitePolicy:
    """Reads the numbers of each step; may go back to a checkpoint, pause, or end the run."""

    is_for_leader = False

    def __init__(
        self,
        context: TrainContext,
        reader: StepReader,
        spikes: SpikeKeeper,
        rollback: Rollback,
        diverged_from: Callable[[], int | None],
    ) -> None:
        """`diverged_from`: from which step on the weights had diverged before, None: they had not.
        The update of a step that is not finite is skipped, so its weights are as they were."""
        self._context = context
        self._diverged_from = diverged_from
        self._spikes = spikes
        self._rollback = rollback
        reader.on_read(self._observe)
        self._skipped: StepMetrics | None = None
        self._alerted = False
        """Whether an alert was written since the last finite step."""

    def _observe(self, reading: StepMetrics) -> None:
        if not reading.skipped:
            self._alerted = self._context.rolled_back = False
            return
        self._skipped = reading
        if not self._alerted:
            what = Message(
                "loss is {loss}, gradient norm {norm}", loss=reading.loss, norm=reading.norm
            )
            self._spikes.flag(reading.step, BAD_STEP["rule"], what)

    def decide(self) -> StepMetrics | None:
        skipped, self._skipped = self._skipped, None
        return skipped

    def act(self, skipped: StepMetrics) -> None:
        """Do what the configuration says; raises DivergedError where training is to stop."""
        policy = self._context.config.train.on_nonfinite
        what = Message(
            "loss is {loss}, gradient norm {norm}: step skipped",
            loss=skipped.loss,
            norm=skipped.norm,
        )
        if policy == "rollback" and not self._context.rolled_back:
            done = self._rollback.roll_back_and_lower_lr(self._diverged_from())
            what = Message("{what}, {done}", what=what, done=done)
        elif policy == "pause":
            what = Message(
                "{what}, paused; lower the learning rate (set lr=…) or resume", what=what
            )
            self._context.run.commands.pause()
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
    nothing: Any = SimpleNamespace(flag=print, on_read=lambda called: None)
    policy = NonFinitePolicy(context, nothing, nothing, nothing, nothing)
    policy.act(StepMetrics(7, float("nan"), 1.0, skipped=True))
    print("=== 自测通过 ===")
