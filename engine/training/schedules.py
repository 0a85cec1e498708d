"""The parts of the loop that act every so many steps: validation, samples, checkpoints, probes.

Each reads its interval in the settings in force, which a command may change, and changes nothing
that training depends on.
"""

from __future__ import annotations

from lmm_tui.engine.training.checkpointing import Checkpointer
from lmm_tui.engine.training.context import TrainContext
from lmm_tui.engine.training.evaluations import Evaluations
from lmm_tui.engine.training.live_model import LiveModel
from lmm_tui.message import Message


class Interval:
    """Is due once at each step that is a multiple; not at the step where the loop begins."""

    def __init__(self, context: TrainContext) -> None:
        self._context = context
        self._asked_at = context.step

    def begins(self) -> bool:
        """Whether this is the first question at this step."""
        before, self._asked_at = self._asked_at, self._context.step
        return before != self._context.step

    @staticmethod
    def fits(step: int, every: int) -> bool:
        return every > 0 and step % every == 0


class Validation:
    """Every `log.val_every` steps, and where a checkpoint may be the best by its loss."""

    def __init__(self, context: TrainContext, live: LiveModel) -> None:
        self._context, self._live = context, live
        self._interval = Interval(context)

    def decide(self) -> bool | None:
        step, log = self._context.step, self._context.config.log
        if not self._interval.begins() or not log.val_every:
            return None
        chosen = log.keep_best and Interval.fits(step, log.checkpoint_every)
        return True if chosen or Interval.fits(step, log.val_every) else None

    def act(self, due: bool) -> None:
        self._live.validate()


class Sampling:
    """Every `log.sample_every` steps."""

    def __init__(self, context: TrainContext, live: LiveModel) -> None:
        self._context, self._live = context, live
        self._interval = Interval(context)

    def decide(self) -> bool | None:
        due = Interval.fits(self._context.step, self._context.config.log.sample_every)
        return True if self._interval.begins() and due else None

    def act(self, due: bool) -> None:
        self._context.try_to(Message("no sample"), self._live.sample)


class Checkpointing:
    """Every `log.checkpoint_every` steps."""

    def __init__(self, context: TrainContext, checkpoints: Checkpointer) -> None:
        self._context, self._checkpoints = context, checkpoints
        self._interval = Interval(context)

    def decide(self) -> bool | None:
        due = Interval.fits(self._context.step, self._context.config.log.checkpoint_every)
        return True if self._interval.begins() and due else None

    def act(self, due: bool) -> None:
        self._checkpoints.begin_unless_stuck()


class Evaluating:
    """Every `eval.every` steps; reports the evaluations that end meanwhile."""

    def __init__(self, context: TrainContext, evaluations: Evaluations) -> None:
        self._context, self._evaluations = context, evaluations
        self._interval = Interval(context)

    def decide(self) -> bool | None:
        if not self._interval.begins():
            return None
        self._evaluations.report()
        return True if Interval.fits(self._context.step, self._context.config.eval.every) else None

    def act(self, due: bool) -> None:
        self._context.try_to(Message("not evaluated"), self._evaluations.start_scheduled)


class Probing:
    """Every `log.probe_every` steps, in the step itself: it is announced before that."""

    def __init__(self, context: TrainContext) -> None:
        self._context = context
        self._step = -1

    def decide(self) -> bool | None:
        following = self._context.step + 1
        due = Interval.fits(following, self._context.config.log.probe_every)
        return True if due and self._step != following else None

    def act(self, due: bool) -> None:
        self._step = self._context.step + 1

    @property
    def is_on(self) -> bool:
        """Whether the next step is probed."""
        return self._step == self._context.step + 1


class StageWarnings:
    """What the stage has to say of its data, as it comes."""

    def __init__(self, context: TrainContext) -> None:
        self._context = context

    def decide(self) -> bool | None:
        return bool(self._context.stage.warnings) or None

    def act(self, due: bool) -> None:
        self._context.report_warnings()


if __name__ == "__main__":
    from types import SimpleNamespace
    from typing import Any

    log = SimpleNamespace(probe_every=5)
    context: Any = SimpleNamespace(step=3, config=SimpleNamespace(log=log))
    probing = Probing(context)
    assert probing.decide() is None
    context.step = 4
    probing.act(probing.decide() is True)
    print(probing.is_on, probing.decide())
    print("=== 自测通过 ===")
