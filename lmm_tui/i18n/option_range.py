"""What a number among the settings may be, in the language of the interface.

The configuration tree words it in English; this knows that wording, and no tree.
"""

from __future__ import annotations

import sys

from lmm_tui.i18n import language
from lmm_tui.i18n.language import tr


def limits_in_words(allowed: str) -> str:
    """`engine.config.options.Option.allowed` in the chosen language; empty stays empty."""
    number, _, span = allowed.partition(" from ")
    if span:
        low, _, high = span.partition(" to ")
        return tr("{number} from {low} to {high}", number=tr(number), low=low, high=high)
    number, *bounds = allowed.split(", ")
    limits = [bound.rpartition(" ") for bound in bounds]
    return tr(", ").join([tr(number), *(f"{tr(word)} {limit}" for word, _, limit in limits)])


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    language.use("zh")
    print(limits_in_words("whole number from 1 to 4,096"), limits_in_words("number, above 0"))
    assert limits_in_words("number, above 0") == "数，大于 0"
    language.use("en")
    assert limits_in_words("number, above 0, at most 1") == "number, above 0, at most 1"
    print("=== 自测通过 ===")
