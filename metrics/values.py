"""Numbers in the files of a run: how non-finite ones are written, and perplexity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lmm_tui.message import Message

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


def measured(numbers: Mapping[str, float], spec: str) -> Message:
    """Numbers with what they are, as a list: `entropy 0.125, top1_acc 0.5`."""
    shown = [
        Message("{name} {value}", name=Message(name), value=format(value, spec))
        for name, value in numbers.items()
    ]
    return Message("{numbers}", numbers=shown)


def perplexity(loss: float) -> float:
    """exp(loss) of an averaged loss in nats, cut off at exp(20)."""
    return math.exp(min(loss, MAX_LOSS_OF_PPL))


def is_cut_off(ppl: float) -> bool:
    """Whether a perplexity stands for all those above it."""
    return ppl >= MAX_PPL * (1 - 1e-6)  # Logs of other programs may be in single precision.


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a proportion of `count` cases, as 0.0 to 0.278 for 0 of 10.

    Wilson's score interval (J. Am. Stat. Assoc. 22, 1927). It stays within 0 and 1 and is not empty
    where none or all of few cases hold, unlike 1.96 standard errors.
    """
    z = 1.959964
    centre = share + z * z / (2 * count)
    reach = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    whole = 1 + z * z / count
    low, high = (centre - reach) / whole, (centre + reach) / whole
    return max(min(low, share), 0.0), min(max(high, share), 1.0)  # As rounding has it at the ends.


if __name__ == "__main__":
    found = strict({"loss": math.nan, "losses": [1.0, -math.inf], "step": 3})
    print(found, perplexity(math.log(1024)))
    assert found == {"loss": "NaN", "losses": [1.0, "-Infinity"], "step": 3}
    print("=== 自测通过 ===")
