"""Short text for numbers: measured values, differences, sizes, counts, durations.

Pure functions. But for the units of a duration the text is the same in every language.
"""

from __future__ import annotations

import math

from lmm_tui.i18n.language import tr
from lmm_tui.metrics.values import is_cut_off

NOTHING = "-"
"""Shown for a value that is not known."""


def figure(value: float) -> str:
    """Four significant digits: 6.931, 0.0124, 3.20e-5, 1,024, NaN, -∞."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    magnitude = abs(value)
    if magnitude < 1e-3 or magnitude >= 1e6:
        return f"{value:.2e}".replace("e-0", "e-").replace("e+0", "e")
    if magnitude >= 1000:
        return f"{value:,.0f}"
    digits = 3 - math.floor(math.log10(magnitude)) if magnitude >= 1 else 4
    return f"{value:.{digits}f}"


def metric_figure(name: str, value: float) -> str:
    """A value of a metric as `figure` has it; a learning rate as 3.0e-3, a rate of clipping in per
    cent, a perplexity that is cut off as `> 4.85e8`."""
    if name == "train/clip_rate" and math.isfinite(value):
        return f"{value:.1%}".replace("%", " %")
    if name == "train/lr" and math.isfinite(value):
        return scientific(value)
    cut = name.endswith("/ppl") and is_cut_off(value)
    return f"> {figure(value)}" if cut else figure(value)


def scientific(value: float) -> str:
    """Two digits and a power of ten, for learning rates: 3.0e-3."""
    return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")


def change(value: float) -> str:
    """A signed difference, three digits at most: +0.012, -3.4, ±0; empty if not finite."""
    if not math.isfinite(value):
        return ""
    magnitude = abs(value)
    if magnitude < 5e-5:
        return "±0"
    digits = 4 if magnitude < 0.0995 else 3 if magnitude < 0.995 else 2 if magnitude < 9.95 else 1
    return f"{value:+.{digits}f}" if magnitude < 1000 else f"{value:+,.0f}"


def size(amount: float) -> str:
    """Bytes in decimal units, three digits at most: `512 B`, `3.1 MB`."""
    unit = "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:,.{1 if unit != 'B' and amount < 99.95 else 0}f} {unit}"


def duration(seconds: float) -> str:
    """Two units at most: `8 s`, `2 min 05 s`, `3 h 20 min`, `4 d 06 h`; a dash if not finite."""
    if not math.isfinite(seconds):
        return NOTHING
    whole = max(0, round(seconds))
    if whole < 60:
        return tr("{seconds} s", seconds=whole)
    minutes, hours = whole // 60, whole // 3600
    if minutes < 60:
        return tr("{minutes} min {seconds:02} s", minutes=minutes, seconds=whole % 60)
    if hours < 24:
        return tr("{hours} h {minutes:02} min", hours=hours, minutes=minutes % 60)
    return tr("{days} d {hours:02} h", days=hours // 24, hours=hours % 24)


def age(seconds: float) -> str:
    """One unit: `8 s`, `2 min`, `3 h`, `4 d`; a dash if not finite."""
    return " ".join(duration(seconds).split(" ")[:2])


def count(amount: float) -> str:
    """Three digits and a letter: `950`, `18.2k`, `4.10M`, `1.20B`."""
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if amount >= unit * 0.9995:
            scaled = amount / unit
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f}{letter}"
    return f"{amount:.0f}"


def number(value: float | None) -> str:
    """Three decimals, four significant digits from 100 on, a dash for None."""
    if value is None:
        return NOTHING
    return f"{value:.3f}" if abs(value) < 100 else figure(value)


if __name__ == "__main__":
    print(*map(figure, (6.9314, 0.01239, 3.2e-5, 1024.4, 0.0, math.nan, -math.inf)))
    print(*map(change, (0.0123, -0.5, 3.44, -25.0, 0.0)), *map(size, (950, 3_141_592, 16 * 10**9)))
    print(*map(duration, (8, 125, 12_000, 367_000)), *map(count, (950, 999.9, 18_234, 4_100_000)))
    assert figure(1024.4) == "1,024" and count(999.9) == "1.00k"
    print("=== 自测通过 ===")
