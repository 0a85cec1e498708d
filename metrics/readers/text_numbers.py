"""Numbers as programs print them: `1,234.5`, `3.1%`, `1.2k`, `12.5ms`, `nan`, `2.47GiB`."""

from __future__ import annotations

import re

NUMBER = (
    r"[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
    r"|[-+]?(?:nan|inf(?:inity)?)(?=(?:ms|s)?(?![A-Za-z]))"
)
"""A number, without its unit; not within a word."""

_MULTIPLES = {"k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
_UNITS = frozenset((
    "%", "ms", "us", "µs", "ns", "s", "sec", "secs", "second", "seconds", "m", "min", "mins",
    "minute", "minutes", "h", "hr", "hrs", "hour", "hours", "d", "x", "z", "w", "W", "C", "B",
    "KB", "MB", "GB", "TB", "kB", "KiB", "MiB", "GiB", "TiB", "G", "Gb", "Mb", "it/s", "s/it",
    "iter/s", "s/iter", "s/step", "ms/step", "ms/it", "ms/iter", "tok/s", "tokens/s", "toks/s",
    "samples/s", "TFLOPS", "TFLOP/s", "tok/sec", "tokens/sec", "img/s", "steps/s", "step/s",
))  # fmt: skip
UNIT = r"%|[A-Za-zµ]+(?:/[A-Za-z]+)?"
_FULL = re.compile(rf"\s*(?P<number>{NUMBER})\s?(?P<unit>{UNIT})?\s*", re.IGNORECASE)
_SIZES = ("mem", "size", "byte", "vram", "disk")


def factor_of(unit: str | None, name: str = "") -> float | None:
    """What a unit behind a number multiplies it by; None where it is no unit.

    k, M, B and T count, but not where the name says that it is a size in memory.
    """
    if not unit:
        return 1.0
    unit = unit.strip()
    if unit in _MULTIPLES:
        return 1.0 if any(part in name.lower() for part in _SIZES) else _MULTIPLES[unit]
    return 1.0 if unit in _UNITS else None


def read_number(text: str, factor: float = 1.0) -> float | None:
    """The value of a number that was found by NUMBER, times a factor."""
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        return None
    return value if factor == 1.0 else value * factor


def number_in(text: str, name: str = "") -> float | None:
    """The number that a text is, with or without a unit."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        pass
    found = _FULL.fullmatch(text) if len(text) <= 64 else None
    factor = factor_of(found["unit"], name) if found else None
    return None if found is None or factor is None else read_number(found["number"], factor)


def whole_number(text: str) -> int | None:
    """A step or an epoch as text, such as `1,000` or `20.0`."""
    value = number_in(text)
    if value is None or not abs(value) <= 2**53 or value != int(value):
        return None
    return int(value)


def unix_seconds(value: float) -> float | None:
    """A time since 1970 in seconds, milli-, micro- or nanoseconds; None for other numbers."""
    for digits in (1.0, 1e3, 1e6, 1e9):
        if 1e8 < value / digits < 1e10:
            return value / digits
    return None


if __name__ == "__main__":
    for shown in ("1,234.5", "3.1%", "1.2k", "12.5ms", "nan", "2.47GiB", "12abc", "1_000"):
        print(shown, number_in(shown))
    assert number_in("1,198,125") == 1198125 and number_in("7B", "memory") == 7
    assert number_in("04:39") is None and unix_seconds(1.7e12) == 1.7e9
    print("=== 自测通过 ===")
