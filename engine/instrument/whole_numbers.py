"""Steps and counts that a script passes: whole numbers of Python, numpy or torch, and no others."""

from __future__ import annotations

import operator
from typing import Any

from lmm_tui.errors import LmmError
from lmm_tui.metrics.series.row_values import MAX_STEP


class InstrumentError(LmmError):
    """A value that cannot be logged, or a request that a script's run does not support."""


def whole_number(name: str, value: Any) -> int:
    """`value` as an int of at least 0: an integer, a float without a fraction, or such a scalar.

    Raises InstrumentError for anything else; bool and text are no counts.
    """
    if type(value) is int and 0 <= value <= MAX_STEP:
        return value
    try:
        plain = value.item() if hasattr(value, "item") else value
        if isinstance(plain, float) and plain.is_integer():
            plain = int(plain)
        whole = -1 if isinstance(plain, bool) else operator.index(plain)
    except (TypeError, ValueError, RuntimeError):
        whole = -1
    if not 0 <= whole <= MAX_STEP:
        raise InstrumentError(
            "{name}: is {value!r:.80}; expected a whole number, 0 or more", name=name, value=value
        )
    return whole


if __name__ == "__main__":
    print(whole_number("step", 3.0))
    for wrong in (4.5, "5", True, -1):
        try:
            print(whole_number("step", wrong))
        except InstrumentError as error:
            print(error)
    print("=== 自测通过 ===")
