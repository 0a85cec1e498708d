"""Which scripts a text is written in, by the ranges of its letters in Unicode."""

from __future__ import annotations

import numpy as np

_RANGES = (
    ("Latin", 0x41, 0x5B), ("Latin", 0x61, 0x7B), ("Latin", 0xC0, 0x250),
    ("Greek", 0x370, 0x400), ("Cyrillic", 0x400, 0x530), ("Hebrew", 0x590, 0x600),
    ("Arabic", 0x600, 0x780), ("Devanagari", 0x900, 0x980), ("Bengali", 0x980, 0xA00),
    ("Tamil", 0xB80, 0xC00), ("Thai", 0xE00, 0xE80), ("Hangul", 0x1100, 0x1200),
    ("Latin", 0x1E00, 0x1F00), ("Kana", 0x3040, 0x3100), ("Han", 0x3400, 0xA000),
    ("Hangul", 0xAC00, 0xD7B0), ("Han", 0x20000, 0x32000),
)  # fmt: skip
OTHER = "other"
_BOUNDS = np.unique([[first, end] for _, first, end in _RANGES] + [[0x250, 0x250]])
_NAMES = [
    next((name for name, first, end in _RANGES if first <= start < end), OTHER * (start >= 0x250))
    for start in (0, *_BOUNDS.tolist())
]
"""What is between the bounds; below 0x250 all that is no letter is nothing."""


class Scripts:
    """Counts letters by script over many texts."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, text: str) -> None:
        points = np.frombuffer(text.encode("utf-32-le", "replace"), "<u4")
        counts = np.bincount(np.searchsorted(_BOUNDS, points, side="right"), minlength=len(_NAMES))
        for name, count in zip(_NAMES, counts.tolist(), strict=True):
            if count and name:
                self._counts[name] = self._counts.get(name, 0) + count

    @property
    def shares(self) -> dict[str, float]:
        """Of all letters, the largest first."""
        total = sum(self._counts.values()) or 1
        ordered = sorted(self._counts.items(), key=lambda item: -item[1])
        return {name: count / total for name, count in ordered}


if __name__ == "__main__":
    demo = Scripts()
    demo.add("abc 中文字")
    print(demo.shares)
    assert demo.shares == {"Latin": 0.5, "Han": 0.5}
    print("=== 自测通过 ===")
