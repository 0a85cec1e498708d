"""Round ticks for an axis, with short labels in one notation.

Steps are 1, 2, 2.5 or 5 times a power of ten; durations have steps of the clock. All functions are
pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from lmm_tui.metrics.series.series import Axis

_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
_ROUND_ENDS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_CLOCK_STEPS = (
    *(1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10800, 21600, 43200, 86400),
)
_MOST_PARTS = 4
"""Into which ticks cut an axis: more than five are not read."""
_SUFFIXES = ("", "k", "M", "G", "T", "P", "E")


def round_step(span: float, most: int) -> float:
    """The smallest round step that cuts `span` into at most `most` parts."""
    rough = span / max(most, 1)
    if not rough > 0 or not math.isfinite(rough):
        return 1.0
    exponent = math.floor(math.log10(rough))
    for factor in _ROUND:
        # A decimal power is parsed rather than computed, so that 0.1 comes out as 0.1.
        step = float(f"{factor}e{exponent}")
        if step >= rough * (1 - 1e-9):
            return step
    return float(f"10e{exponent}")


def round_ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of a round step in [low, high], at most about `most` of them."""
    return _multiples(low, high, round_step(high - low, most))


def whole_ticks(low: float, high: float, most: int) -> list[float]:
    """Like `round_ticks`, for whole numbers."""
    step = round_step(high - low, most)
    return _multiples(low, high, step if step.is_integer() else 5.0 if step > 1 else 1.0)


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Ticks of a log axis in [low, high], both positive: 1-2-5 a decade, or whole decades.

    A range within one decade or so is ticked like a linear one.
    """
    bottom, top = math.log10(low), math.log10(high)
    decades = _multiples(bottom, top, max(1.0, math.ceil((top - bottom) / max(most, 1))))
    finer = [
        value
        for exponent in range(math.floor(bottom), math.ceil(top) + 1)
        for factor in (1, 2, 5)
        if low <= (value := float(f"{factor}e{exponent}")) <= high
    ]
    if len(finer) <= most:
        return finer if len(finer) >= 3 else round_ticks(low, high, most)
    return [float(f"1e{round(exponent)}") for exponent in decades]


def clock_ticks(low: float, high: float, most: int) -> list[float]:
    """Round durations in [low, high], in seconds."""
    rough = (high - low) / max(most, 1)
    days = 86400 * round_step((high - low) / 86400, most)
    step = next((float(step) for step in _CLOCK_STEPS if step >= rough), days)
    return _multiples(low, high, step)


def round_end(last: float) -> float:
    """A round end for an axis from 0 to `last`, which changes rarely as `last` grows."""
    if not last > 0 or not math.isfinite(last):
        return 1.0
    exponent = math.floor(math.log10(last))
    return next(end for factor in _ROUND_ENDS if (end := float(f"{factor}e{exponent}")) >= last)


def round_range(low: float, high: float) -> tuple[float, float]:
    """[low, high] extended to round ends; never empty, and starting at 0 if that is near."""
    least = 0.01 * max(abs(low), abs(high)) or 1.0
    if high - low < least:
        low, high = low - least / 2, high + least / 2
    if 0 <= low <= 0.25 * high:
        low = 0.0
    step = round_step(high - low, 10)
    return math.floor(low / step) * step, math.ceil(high / step) * step


def round_decades(low: float, high: float) -> tuple[float, float]:
    """Like `round_range` for a log axis, in log10: ends are 1, 2 or 5 times a power of ten.

    A range of less than half a decade has the ends of a linear one.
    """
    if high - low < 0.5:
        bottom, top = round_range(10**low, 10**high)
        return math.log10(bottom) if bottom > 0 else low - 0.1, math.log10(top)
    ends = [math.log10(factor) for factor in (1, 2, 5, 10)]
    below, above = low - math.floor(low), high - math.floor(high)
    return (
        math.floor(low) + max(end for end in ends if end <= below + 1e-9),
        math.floor(high) + min(end for end in ends if end >= above - 1e-9),
    )


def tick_labels(values: Sequence[float], width: int) -> list[str] | None:
    """Labels of ascending values in one notation, with as few digits as are exact enough.

    None if they do not fit in `width`.
    """
    largest = max((abs(value) for value in values), default=0.0)
    if largest == 0:
        return ["0"] * len(values)
    gap = min((after - before for before, after in pairwise(values)), default=largest)
    for notation in _notations(largest):
        for digits in range(6):
            labels = ["0" if value == 0 else notation(value, digits) for value in values]
            read = [_value_of(label) for label in labels]
            if all(abs(a - b) <= 0.01 * gap for a, b in zip(read, values, strict=True)):
                if max(map(len, labels)) <= width:
                    return labels
                break
    return None


def _notations(largest: float) -> Iterator[Callable[[float, int], str]]:
    """Ways to write numbers up to `largest`, the easiest to read first."""
    exponent = math.floor(math.log10(largest))
    power = min(exponent // 3, len(_SUFFIXES) - 1)
    if largest >= 10_000:
        scale, suffix = 1000.0**power, _SUFFIXES[power]
        yield lambda value, digits: f"{value / scale:.{digits}f}{suffix}"
    elif largest >= 0.01:
        yield lambda value, digits: f"{value:.{digits}f}"
        yield lambda value, digits: f"{value:.{digits}f}".replace("0.", ".", 1)
    unit = float(f"1e{exponent}")
    yield lambda value, digits: f"{value / unit:.{digits}f}e{exponent}"


def _value_of(label: str) -> float:
    """The number that a label shows."""
    number = label.rstrip("".join(_SUFFIXES))
    return float(number) * 1000.0 ** _SUFFIXES.index(label[len(number) :])


def count_label(value: float) -> str:
    """Steps or tokens: 0, 500, 1.5k, 20k, 3M."""
    size = abs(value)
    for power in range(len(_SUFFIXES) - 1, 0, -1):
        if size >= 1000**power:
            return f"{value / 1000**power:.4g}{_SUFFIXES[power]}"
    return f"{value:g}"


def clock_label(seconds: float) -> str:
    """A duration in at most two units: 0, 45s, 1m30, 2h, 1h15, 2d12h."""
    total = round(seconds)
    sign = "-" if total < 0 else ""
    days, rest = divmod(abs(total), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    if days:
        text = f"{days}d{hours}h" if hours else f"{days}d"
    elif hours:
        text = f"{hours}h{minutes:02}" if minutes else f"{hours}h"
    elif minutes:
        text = f"{minutes}m{rest:02}" if rest else f"{minutes}m"
    else:
        text = f"{rest}s" if rest else "0"
    return sign + text


def x_ticks(low: float, high: float, width: int, axis: Axis) -> list[tuple[float, str]]:
    """Positions and labels for an axis of `width` cells; labels do not touch."""
    make = _TICKS[axis]
    label = clock_label if axis == "time" else flops_label if axis == "flops" else count_label
    for most in range(min(max(width // 9, 2), _MOST_PARTS), 0, -1):
        ticks = [(value, label(value)) for value in make(low, high, most)]
        cells = [round((value - low) / (high - low) * (width - 1)) for value, _ in ticks]
        longest = max((len(text) for _, text in ticks), default=0)
        gaps = [after - before for before, after in pairwise(cells)]
        if min(gaps, default=width) >= longest + 2:
            return ticks
    return []


def y_ticks(
    low: float, high: float, height: int, width: int, *, log: bool = False
) -> list[tuple[float, str]]:
    """Positions and labels for an axis of `height` cells, labels of at most `width`."""
    make = log_ticks if log else round_ticks
    for most in range(min(max(round(height / 2.4), 2), _MOST_PARTS), 0, -1):
        values = make(low, high, most)
        labels = [*map(log_label, values)] if log else tick_labels(values, width)
        if labels and len(labels) <= height and max(map(len, labels)) <= width:
            return list(zip(values, labels, strict=True))
    return []


_TICKS = {
    "step": whole_ticks,
    "tokens": whole_ticks,
    "time": clock_ticks,
    "epoch": round_ticks,
    "flops": round_ticks,
}


def log_label(value: float) -> str:
    """A positive value: 0.02, 3e-4, 1.5k."""
    if value >= 0.01:
        return count_label(value)
    exponent = math.floor(math.log10(value))
    return f"{value / float(f'1e{exponent}'):.3g}e{exponent}"


def flops_label(value: float) -> str:
    """As 2.5e15: nobody knows by heart what comes after P."""
    return f"{value:.3g}".replace("e+", "e")


def _multiples(low: float, high: float, step: float) -> list[float]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    # Rounding to fifteen digits turns 0.30000000000000004 into 0.3.
    return [float(f"{number * step:.15g}") for number in range(first, last + 1)]


if __name__ == "__main__":
    print(x_ticks(0, 12_000, 80, "step"), x_ticks(0, 5400, 60, "time"))
    print(y_ticks(2.31, 7.02, 12, 6), y_ticks(0, 3.1e-4, 12, 6), y_ticks(3, 8e4, 12, 6, log=True))
    assert round_ticks(0, 1000, 4) == [0, 250, 500, 750, 1000] and round_end(1201) == 1500
    print("=== 自测通过 ===")
