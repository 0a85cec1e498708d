"""How surprising a token is to a model, in few levels: what colours of losses stand for."""

from __future__ import annotations

LIMITS = (1.0, 3.0, 5.0)
"""Nats below which a loss is of level 0, 1, 2; from the last on it is of level 3."""

SURPRISING = LIMITS[-1]
"""Nats from which a token counts as a surprise."""


def level(loss: float) -> int:
    """0 for what was expected, 3 for a surprise."""
    return next((at for at, limit in enumerate(LIMITS) if loss < limit), len(LIMITS))


if __name__ == "__main__":
    print([level(loss) for loss in (0.2, 1.0, 4.9, 5.0, float("nan"))])
    assert level(0.9) == 0 and level(SURPRISING) == 3
    print("=== 自测通过 ===")
