"""Running averages of a training record: the smoothed loss, and how much was clipped of late."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

CLIP_WINDOW = 100
"""Steps that the clip rate looks back."""


class Ema:
    """Exponential moving average m = β_t·m + (1-β_t)·x with β_t = min(β, (1+t)/(10+t)).

    A fixed β is for the first hundred values the mean of all so far, or nearly so, and lags far
    behind a curve that falls. The average of a constant is that constant from the first value on.
    Non-finite values are skipped and counted.
    """

    def __init__(self, beta: float) -> None:
        self.beta = beta
        self.mean = 0.0
        self.count = 0
        self.nonfinite = 0

    def add(self, x: float) -> bool:
        """Add a value; returns whether it was finite."""
        if not math.isfinite(x):
            self.nonfinite += 1
            return False
        beta = min(self.beta, (1 + self.count) / (10 + self.count)) if self.count else 0.0
        self.mean = beta * self.mean + (1 - beta) * x
        self.count += 1
        return True

    @property
    def value(self) -> float:
        """NaN before the first finite value."""
        return self.mean if self.count else math.nan


class ClipWindow:
    """How often and how much the last `size` gradients were clipped.

    A non-finite norm is skipped: there was no usable gradient to clip.
    """

    def __init__(self, size: int) -> None:
        self._clipped: deque[int] = deque(maxlen=size)
        self._ratios: deque[float] = deque(maxlen=size)

    def add(self, norm: float, max_norm: float) -> bool:
        """Add a step; returns whether its norm was finite."""
        if not math.isfinite(norm):
            return False
        self._clipped.append(int(norm > max_norm))
        self._ratios.append(min(1.0, max_norm / (norm + 1e-6)))
        return True

    @property
    def rate(self) -> float:
        """Share of steps whose norm exceeded the threshold, 0 to 1; NaN before the first."""
        return sum(self._clipped) / len(self._clipped) if self._clipped else math.nan

    @property
    def ratio(self) -> float:
        """Mean factor applied to the gradients, 1 if none was clipped; NaN before the first."""
        return sum(self._ratios) / len(self._ratios) if self._ratios else math.nan

    def state_dict(self) -> dict[str, list[Any]]:
        return {"clipped": list(self._clipped), "ratios": list(self._ratios)}

    def load_state_dict(self, state: Mapping[str, list[Any]]) -> None:
        self._clipped.extend(state["clipped"])
        self._ratios.extend(state["ratios"])


if __name__ == "__main__":
    ema, clips = Ema(0.9), ClipWindow(100)
    for loss, norm in ((6.0, 0.5), (6.0, 2.0), (5.0, 4.0)):
        ema.add(loss)
        clips.add(norm, max_norm=1.0)
    print(ema.value, clips.rate, clips.ratio)
    print("=== 自测通过 ===")
