"""Steps that leave the processor to others: of runs that train while something else is looked at.

A run at full speed takes a core for as long as a test lasts, which is longer the busier it is.
"""

import time

from lmm_tui.engine.training.loop import Trainer
from lmm_tui.engine.training.parts import TrainingParts

STEP_S = 0.2


def slow_down() -> None:
    """For all runs of this process."""
    step = Trainer._step

    def slow(trainer: Trainer, parts: TrainingParts) -> None:
        time.sleep(STEP_S)
        step(trainer, parts)

    Trainer._step = slow  # type: ignore[method-assign]
