"""Where values of a column stand on an axis from 0 to 1: linear, by powers of ten, or by name."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lmm_tui.runs.run_columns import Value

_LOG_FROM = 8.0
"""Positive values whose ends are this far apart are put on a scale by powers of ten."""

MOST_NAMES = 12


@dataclass(frozen=True)
class ValueScale:
    """`ends` are the lowest and highest number, `names` all values that are no numbers."""

    kind: Literal["linear", "log", "names"]
    ends: tuple[float, float] = (0.0, 1.0)
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Iterable[Value]) -> ValueScale:
        """Of the values that a column has; those that are missing or not finite do not count."""
        known = [value for value in values if value is not None and value != ""]
        numbers = [number for value in known if (number := _number(value)) is not None]
        if not numbers or any(_number(value) is None and not _is_nan(value) for value in known):
            return cls("names", names=tuple(sorted({str(value) for value in known})))
        low, high = min(numbers), max(numbers)
        return cls("log" if low > 0 and high / low >= _LOG_FROM else "linear", (low, high))

    def place(self, value: Value) -> float | None:
        """From 0 to 1; None for a value that is missing or not finite."""
        if value is None or value == "":
            return None
        if self.kind == "names":
            at = self.names.index(str(value)) if str(value) in self.names else None
            return None if at is None else self._spread(at, len(self.names) - 1)
        number = _number(value)
        if number is None:
            return None
        low, high = self.ends
        if self.kind == "log":
            return self._spread(math.log(number / low), math.log(high / low))
        return self._spread(number - low, high - low)

    def labels(self) -> list[tuple[float, str]]:
        """Places and texts: the two ends, the middle where there is room, or all names."""
        if self.kind == "names":
            last = len(self.names) - 1
            shown = self.names[:MOST_NAMES]
            return [(self._spread(at, last), name) for at, name in enumerate(shown)]
        low, high = self.ends
        if low == high:
            return [(0.5, f"{low:.4g}")]
        middle = math.sqrt(low) * math.sqrt(high) if self.kind == "log" else low / 2 + high / 2
        return [(0.0, f"{low:.4g}"), (0.5, f"{middle:.3g}"), (1.0, f"{high:.4g}")]

    @staticmethod
    def _spread(part: float, whole: float) -> float:
        return part / whole if whole else 0.5


def _number(value: Value) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _is_nan(value: Value) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


if __name__ == "__main__":
    scale = ValueScale.of([1e-4, 1e-3, 1e-2, None])
    print(scale, [scale.place(value) for value in (1e-4, 1e-3, 1e-2, None)], scale.labels())
    assert ValueScale.of(["adamw", "muon"]).place("muon") == 1.0
    print("=== 自测通过 ===")
