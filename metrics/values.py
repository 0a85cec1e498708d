"""Numbers in the files of a run: how non-finite ones are written, and perplexity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""The strings that stand for numbers that JSON cannot represent."""

MAX_LOSS_OF_PPL = 20.0
"""In nats; the perplexity of larger losses is cut off."""
MAX_PPL = math.exp(MAX_LOSS_OF_PPL)


def strict(value: Any) -> Any:
    """`value` with its non-finite numbers as strings, recursively in mappings and lists."""
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


def is_cut_off(ppl: float) -> bool:
    """Whether a perplexity stands for all those above it."""
    return ppl >= MAX_PPL * (1 - 1e-6)  # Logs of other programs may be in single precision.


if __name__ == "__main__":
    found = strict({"loss": math.nan, "losses": [1.0, -math.inf], "step": 3})
    print(found, perplexity(math.log(1024)))
    assert found == {"loss": "NaN", "losses": [1.0, "-Infinity"], "step": 3}
    print("=== 自测通过 ===")
