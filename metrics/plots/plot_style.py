"""The style of plots: matplotlib settings, fonts, and how numbers are written.

Colours are those of all charts, on a light ground.
"""

from __future__ import annotations

import math
from typing import Any

from matplotlib import font_manager

from lmm_tui.metrics.drawing.palette import SERIES_COLORS, chart_colors, shade

_CHART = chart_colors(dark=False)
INK = "#1f2933"
GRID = "#e6e9ed"
MUTED, EDGE, BROKEN = _CHART.label, _CHART.axis, _CHART.alarm
LINES = {name: shade(name, dark=False).line for name in SERIES_COLORS}
TRAIN, VAL, REPRESENTATION, OTHER = (LINES[name] for name in ("blue", "orange", "green", "purple"))

_LATIN = ("Inter", "Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans")
_CHINESE = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Noto Sans CJK JP",
    "SimHei",
    "Droid Sans Fallback",
    "Arial Unicode MS",
)


def settings() -> dict[Any, Any]:
    """Settings for `matplotlib.rc_context`; text is never parsed as mathematics."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return {
        "font.family": [name for name in (*_LATIN, *_CHINESE) if name in installed],
        "font.size": 9,
        "text.color": INK,
        "text.parse_math": False,
        "axes.edgecolor": EDGE,
        "axes.labelcolor": MUTED,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "xtick.color": EDGE,
        "ytick.color": EDGE,
        "xtick.labelcolor": MUTED,
        "ytick.labelcolor": MUTED,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "ytick.major.size": 0,
        "lines.solid_capstyle": "round",
        "svg.fonttype": "none",
    }


def number(value: float, digits: int = 4) -> str:
    """A value as a person would write it: `2.531`, `3e-4`, `12.43k`, `NaN`."""
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "-∞"}.get(value, "NaN")
    value = float(f"{value:.{digits}g}")
    size = abs(value)
    for limit, unit, scale in ((1e9, "G", 1e9), (1e6, "M", 1e6), (1e4, "k", 1e3)):
        if size >= limit:
            return f"{value / scale:g}{unit}"
    if size == 0 or size >= 1e-3:
        return f"{value:g}"
    mantissa, exponent = f"{value:e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def count(n: int) -> str:
    """A whole number with thousands separators; from a million on with a unit."""
    return number(n) if n >= 1_000_000 else f"{n:,}"


if __name__ == "__main__":
    print([number(x) for x in (2.53118, 3e-4, 12_400.0, math.nan, 0.0, 485e6)])
    print(count(1000), count(4_096_000), LINES)
    assert number(3e-4) == "3e-4"
    print("fonts:", settings()["font.family"])
    print("=== 自测通过 ===")
