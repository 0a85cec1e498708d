"""A measured value in few characters, for panels that have no room for more.

A pure function on floats; counts and durations are worded in `lmm_tui.runs.status_text`.
"""

from __future__ import annotations

import math


def figure(value: float) -> str:
    """Four digits, without noise: 6.931, 0.0124, 3.20e-5, 1,024, NaN, -∞."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    size = abs(value)
    if size < 1e-3 or size >= 1e6:
        return f"{value:.2e}".replace("e-0", "e-").replace("e+0", "e")
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{3 - math.floor(math.log10(size))}f}" if size >= 1 else f"{value:.4f}"


def change(value: float) -> str:
    """A signed difference of at most three digits: +0.012, -3.4, ±0."""
    if not math.isfinite(value):
        return ""
    size = abs(value)
    if size < 5e-5:
        return "±0"
    digits = 4 if size < 0.0995 else 3 if size < 0.995 else 2 if size < 9.95 else 1
    return f"{value:+.{digits}f}" if size < 1000 else f"{value:+,.0f}"


def size(amount: float) -> str:
    """Bytes for people, three digits at most: `512 B`, `3.1 MB`, in powers of ten as disks are."""
    unit = "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:,.{1 if unit != 'B' and amount < 99.95 else 0}f} {unit}"


if __name__ == "__main__":
    print(*map(figure, (6.9314, 0.01239, 3.2e-5, 1024.4, 0.0, math.nan, -math.inf)))
    print(*map(change, (0.0123, -0.5, 3.44, -25.0, 0.0)))
    print(*map(size, (950, 3_141_592, 16 * 10**9)))
    assert figure(1024.4) == "1,024" and change(0.0) == "±0"
    print("=== 自测通过 ===")
