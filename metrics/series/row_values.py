"""What the values of a row of metrics.jsonl mean: which are numbers, and which step is usable."""

from __future__ import annotations

from numbers import Real

import numpy as np

from lmm_tui.metrics.values import NON_FINITE

INDEX_KEYS = ("step", "time", "tokens", "epoch")
"""The keys of a row that are positions on the axes; all others are metrics."""

MAX_STEP = 2**53
"""Up to here a float holds every whole number."""


def number(value: object) -> float | None:
    """A measured value as a float; None for anything else (null, bool, text, lists).

    `"NaN"`, `"Infinity"` and `"-Infinity"` are numbers: so JSON files spell them.
    """
    if type(value) is float:
        return value
    if isinstance(value, str):
        return NON_FINITE.get(value)
    if isinstance(value, Real) and not isinstance(value, bool | np.bool):
        try:
            return float(value)
        except OverflowError:
            return None
    return None


def whole_step(value: object) -> int | None:
    """The step of a row, or None where that is not a whole number within ±MAX_STEP."""
    step = number(value) if not isinstance(value, str) else None
    if step is None or not abs(step) <= MAX_STEP or step != int(step):
        return None
    return int(step)


if __name__ == "__main__":
    found = [number(value) for value in (1, 2.5, "NaN", "12", True, None)]
    print(found, whole_step(3.0), whole_step(3.5))
    assert found[:2] == [1.0, 2.5] and found[3:] == [None] * 3 and whole_step(3.5) is None
    print("=== 自测通过 ===")
