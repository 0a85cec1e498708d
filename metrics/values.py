"""Numbers as every reader and writer of a run must agree on them; knows no torch and no numpy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""How a run's files spell what JSON has no numbers for."""

MAX_LOSS_OF_PPL = 20.0
"""Nats; the perplexity of a larger loss says no more."""


def strict(value: Any) -> Any:
    """`value`, down through mappings and lists, with numbers that are not finite spelt out."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    return value


def perplexity(loss: float) -> float:
    """exp(loss) of an averaged loss in nats, cut off at exp(20)."""
    return math.exp(min(loss, MAX_LOSS_OF_PPL))


if __name__ == "__main__":
    spelt = strict({"loss": math.nan, "losses": [1.0, -math.inf], "step": 3})
    print(spelt, perplexity(math.log(1024)), perplexity(1e9) == math.exp(20))
    assert spelt == {"loss": "NaN", "losses": [1.0, "-Infinity"], "step": 3}
    assert all(strict(value) == name for name, value in NON_FINITE.items())
    print("=== 自测通过 ===")
