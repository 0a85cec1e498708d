"""Levels of a token's loss, one for each colour in which tokens are shown."""

from __future__ import annotations

LIMITS = (1.0, 3.0, 5.0)
"""Upper limits of levels 0, 1 and 2, in nats."""

HIGH_LOSS = LIMITS[-1]
"""Tokens with at least this loss are high-loss tokens, level 3."""


def level(loss: float) -> int:
    """0 for the lowest losses, 3 for the highest, NaN included."""
    return next((at for at, limit in enumerate(LIMITS) if loss < limit), len(LIMITS))


if __name__ == "__main__":
    print([level(loss) for loss in (0.2, 1.0, 4.9, 5.0, float("nan"))])
    assert level(0.9) == 0 and level(HIGH_LOSS) == 3
    print("=== 自测通过 ===")
