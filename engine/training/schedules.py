"""The parts of the loop that act every so many steps: validation, samples, checkpoints, probes.

Each reads its interval in the settings in force, which a command may change, and changes nothing
that training depends on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from lmm_tui.engine.training.checkpointing import Checkpointer
from lmm_tui.engine.training.context import TrainContext
from lmm_tui.engine.training.evaluations import Evaluations
from lmm_tui.engine.training.live_model import LiveModel
from lmm_tui.message import Message


def fits(step: int, every: int) -> bool:
    """Whether a step is a multiple of an interval; 0 has none."""
    return every > 0 and step % every == 0


class Scheduled(ABC):
    """Is due once at each step for which it is scheduled; not where the loop begins."""

    is_for_leader = False

    def __init__(self, context: TrainContext) -> None:
        self._context = context
        self._asked_at = context.step

    def decide(self) -> bool | None:
        before, self._asked_at = self._asked_at, self._context.step
        return True if before != self._context.step and self._is_due() else None

    @abstractmethod
    def _is_due(self) -> bool:
        """Whether the schedule names this step; asked once at it."""


class Validation(Scheduled):
    """Every `log.val_every` steps, and where a checkpoint may be the best by its loss."""

    def __init__(self, context: TrainContext, live: LiveModel) -> None:
        super().__init__(context)
        self._live = live

    def _is_due(self) -> bool:
        step, log = self._context.step, self._context.config.log
        saves = log.checkpoint_interval(self._context.config.train.steps)
        chosen = log.keep_best and fits(step, saves)
        return bool(log.val_every) and (chosen or fits(step, log.val_every))

    def act(self, due: bool) -> None:
        self._live.validate()


class Sampling(Scheduled):
    """Every `log.sample_every` steps; where that is not set, 20 times a run and early."""

    def __init__(self, context: TrainContext, live: LiveModel) -> None:
        super().__init__(context)
        self._live = live

    def _is_due(self) -> bool:
        config = self._context.config
        return config.log.sample_is_due(self._context.step, config.train.steps)

    def act(self, due: bool) -> None:
        self._context.try_to(Message("no sample"), self._live.sample)


class Checkpointing(Scheduled):
    """Every `log.checkpoint_every` steps; where that is not set, 5 times a run."""

    def __init__(self, context: TrainContext, checkpoints: Checkpointer) -> None:
        super().__init__(context)
        self._checkpoints = checkpoints

    def _is_due(self) -> bool:
        config = self._context.config
        return fits(self._context.step, config.log.checkpoint_interval(config.train.steps))

    def act(self, due: bool) -> None:
        self._checkpoints.begin_unless_stuck()


class Evaluating(Scheduled):
    """Every `eval.every` steps; reports the evaluations that end meanwhile."""

    def __init__(self, context: TrainContext, evaluations: Evaluations) -> None:
        super().__init__(context)
        self._evaluations = evaluations

    def _is_due(self) -> bool:
        self._evaluations.report()
        return fits(self._context.step, self._context.config.eval.every)

    def act(self, due: bool) -> None:
        self._context.try_to(Message("not evaluated"), self._evaluations.start_scheduled)


class Probing:
    """Every `log.probe_every` steps, in the step itself: it is announced before that."""

    is_for_leader = False

    def __init__(self, context: TrainContext) -> None:
        self._context = context
        self._step = -1

    def decide(self) -> bool | None:
        following = self._context.step + 1
        due = fits(following, self._context.config.log.probe_every)
        return True if due and self._step != following else None

    def act(self, due: bool) -> None:
        self._step = self._context.step + 1

    @property
    def is_on(self) -> bool:
        """Whether the next step is probed."""
        return self._step == self._context.step + 1


class StageWarnings:
    """What the stage has to say of its data, as it comes."""

    is_for_leader = False

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
