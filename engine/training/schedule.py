"""Learning rate schedules: pure functions of the step that give a factor on the peak rate.

The position in the run counts the step in question as done, so the last step has exactly the last
value.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmm_tui.engine.config.sections.optim_config import OptimConfig


def lr_factor(step: int, total: int, config: OptimConfig) -> float:
    """The factor on the peak learning rate at `step` (0 is the first) of `total`.

    With t = step + 1 and w = warmup_steps:
    cosine    t / w up to t = w, then half a cosine down to min_lr_ratio at t = total
    wsd       t / w, then 1, then 1 - sqrt over the last decay_fraction, to min_lr_ratio
              (arXiv 2405.18392)
    minimind  0.1 + 0.45 * (1 + cos(pi * t / total)), no warm-up, as MiniMind trains
    constant  t / w, then 1
    Steps past the end keep the last value.
    """
    done = min(step + 1, total)
    if config.schedule == "minimind":
        return 0.1 + 0.45 * (1 + math.cos(math.pi * done / total))
    warmup = config.warmup_steps
    if done < warmup:
        return done / warmup
    if config.schedule == "cosine":
        fall = 0.5 * (1 - math.cos(math.pi * _share(done, warmup, total)))
    elif config.schedule == "wsd":
        start = max(warmup, total - round(config.decay_fraction * total))
        fall = math.sqrt(_share(done, start, total))
    else:
        fall = 0.0
    return (1 - fall) + config.min_lr_ratio * fall


def lr_curve(total: int, config: OptimConfig, points: int) -> list[float]:
    """The factors at `points` evenly spaced steps, the first and the last among them."""
    last = max(1, points - 1)
    return [lr_factor(round(i * (total - 1) / last), total, config) for i in range(points)]


def _share(done: int, start: int, end: int) -> float:
    """How much of start .. end is done, 0 to 1."""
    return max(0, done - start) / (end - start) if end > start else 0.0


if __name__ == "__main__":
    from lmm_tui.engine.config.sections.optim_config import OptimConfig

    for name in ("cosine", "wsd", "minimind", "constant"):
        print(f"{name:>9}", lr_curve(1000, OptimConfig(schedule=name), 9))
    print("=== 自测通过 ===")
