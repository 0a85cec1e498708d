"""Gradient noise scale: the batch size beyond which larger batches help little.

McCandlish et al. 2018, "An Empirical Model of Large-Batch Training", appendix A.1: unbiased
estimates of |G|² and tr(Σ) from the squared gradient norms of a small and a big batch; the scale is
tr(Σ)/|G|². Both are noisy, so each is averaged over readings before they are divided. Costs one
more gradient norm (0.1 % of a step) and needs two or more micro-batches.
"""

from __future__ import annotations

import math
from typing import Any

_KEEP = 0.9


def noise_parts(
    small_square: float, small: float, big_square: float, big: float
) -> tuple[float, float]:
    """(|G|², tr Σ) from E|G_small|² of batches of size `small` and |G_big|² of size `big`.

    Unbiased, so either may be negative. A size is the count that its gradient is a mean over.
    """
    gradient = (big * big_square - small * small_square) / (big - small)
    noise = (small_square - big_square) / (1 / small - 1 / big)
    return gradient, noise


class NoiseScale:
    """Divides moving averages of tr(Σ) and |G|²; they reach back about ten readings."""

    def __init__(self) -> None:
        self._gradient = self._noise = 0.0

    def add(self, small_square: float, small: float, big_square: float, big: float) -> float | None:
        """The scale after one more reading; None while the mean of |G|² is not above 0.

        Non-finite readings are skipped.
        """
        gradient, noise = noise_parts(small_square, small, big_square, big)
        if math.isfinite(gradient) and math.isfinite(noise):
            self._gradient = _KEEP * self._gradient + (1 - _KEEP) * gradient
            self._noise = _KEEP * self._noise + (1 - _KEEP) * noise
        if self._gradient <= 0 or self._noise < 0:
            return None
        return self._noise / self._gradient

    def state_dict(self) -> dict[str, Any]:
        return {"gradient": self._gradient, "noise": self._noise}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._gradient, self._noise = state["gradient"], state["noise"]


if __name__ == "__main__":
    scale = NoiseScale()
    # |G|² = 1 and tr Σ = 50: E|G_B|² = 1 + 50 / B.
    print(scale.add(1 + 50 / 10, 10, 1 + 50 / 40, 40))
    assert math.isclose(scale.add(1 + 50 / 10, 10, 1 + 50 / 40, 40) or 0, 50)
    print("=== 自测通过 ===")
