"""Values as people type them into a form: `1k`, `1.5M`, `10,000`, `2 epochs`, `q_proj, k_proj`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

_UNITS = {"k": 1000, "m": 1_000_000, "g": 1_000_000_000, "b": 1_000_000_000}
_NUMBER = re.compile(r"([+-]?\d[\d_,]*(?:\.\d+)?)\s*([kKmMgGbB]?)", re.ASCII)
_EPOCHS = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(?:epochs?|ep|轮)", re.ASCII | re.IGNORECASE)
_GROUPS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?", re.ASCII)


def plain_number(text: str) -> str:
    """`text` without its unit and separators, or as it is if it is no such number."""
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        return text
    digits, unit = found.groups()
    if "," in digits and not _GROUPS.fullmatch(digits):
        return text  # 3,14 is no number of ours.
    value = Decimal(digits.replace(",", "").replace("_", "")) * _UNITS.get(unit.lower(), 1)
    return f"{value:f}".rstrip("0").rstrip(".") if "." in f"{value:f}" else f"{value:f}"


def epochs_in(text: str) -> float | None:
    """The number of `2 epochs`; None if the text is something else."""
    found = _EPOCHS.fullmatch(text.strip())
    return float(found[1]) if found else None


def words_in(text: str) -> list[str]:
    """The items of a list without brackets or quotes."""
    return [word for part in text.split(",") if (word := part.strip())]


def words_text(items: Sequence[object]) -> str | None:
    """A list as `words_in` reads it back; None if it would come back otherwise."""
    text = ", ".join(map(str, items))
    plain = all(isinstance(item, str) for item in items) and not text.startswith("[")
    return text if plain and words_in(text) == list(items) else None


if __name__ == "__main__":
    for typed in ("1k", "1.5M", "10,000", "3e-4", "2 epochs", "3,14"):
        print(f"{typed:10} {plain_number(typed):10} {epochs_in(typed)}")
    assert plain_number("1.5k") == "1500" and epochs_in("2 epochs") == 2
    assert words_text(["a", "b, c"]) is None and words_in("a, b,") == ["a", "b"]
    print("=== 自测通过 ===")
