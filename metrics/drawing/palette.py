"""The colours of series, axes and heat maps, on a dark and on a light ground.

Charts of the terminal, PNG pages and reports all take theirs from here. All are entries of the
xterm 256-colour palette, so that they look the same over ssh (where COLORTERM is lost and Textual
falls back to 256 colours) as in true colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

SeriesColor = Literal["blue", "orange", "green", "purple", "cyan", "red", "yellow", "grey"]

SERIES_COLORS: tuple[SeriesColor, ...] = get_args(SeriesColor)
"""In order of use. They differ in hue or lightness with any colour blindness, too."""
QUARTERS: tuple[SeriesColor, ...] = ("green", "blue", "orange", "red")
"""Of runs that are ranked: the best quarter first."""


@dataclass(frozen=True)
class Shade:
    """A colour in two strengths: for lines, and for the dim band behind them."""

    line: str
    band: str


@dataclass(frozen=True)
class ChartColors:
    """The colours of a chart besides those of its series."""

    axis: str
    label: str
    reference: str
    alarm: str


_DARK: dict[str, Shade] = {
    "blue": Shade("#5fafff", "#005f87"),
    "orange": Shade("#ffaf5f", "#875f00"),
    "green": Shade("#afd7af", "#5f875f"),
    "purple": Shade("#af00ff", "#5f0087"),
    "cyan": Shade("#00ffff", "#005f5f"),
    "red": Shade("#d70000", "#5f0000"),
    "yellow": Shade("#ffff00", "#5f5f00"),
    "grey": Shade("#585858", "#303030"),
}
_LIGHT: dict[str, Shade] = {
    "blue": Shade("#005fd7", "#87afff"),
    "orange": Shade("#d75f00", "#ffaf87"),
    "green": Shade("#5faf5f", "#afd7af"),
    "purple": Shade("#5f005f", "#d7afd7"),
    "cyan": Shade("#00afff", "#afd7ff"),
    "red": Shade("#870000", "#d7afaf"),
    "yellow": Shade("#d7af00", "#ffd787"),
    "grey": Shade("#949494", "#c6c6c6"),
}
_COLOURLESS_DARK, _COLOURLESS_LIGHT = Shade("#d0d0d0", "#626262"), Shade("#303030", "#a8a8a8")
_CHART_DARK = ChartColors(axis="#626262", label="#a8a8a8", reference="#8a8a8a", alarm="#ff5f5f")
_CHART_LIGHT = ChartColors(axis="#a8a8a8", label="#626262", reference="#767676", alarm="#d70000")

# Lightness is monotonic, so that the order is visible without colour vision, too.
_RAMP = (
    *("#00005f", "#0000af", "#5f0087", "#870087", "#af0087", "#d7005f", "#d75f5f"),
    *("#ff875f", "#ffaf5f", "#ffd75f", "#ffff87", "#ffffd7"),
)


def shade(color: SeriesColor, *, dark: bool, colourless: bool = False) -> Shade:
    """The two strengths of a series colour in a dark or a light theme.

    `colourless`, all series have the same two greys: violet turned grey would be too dark.
    """
    if colourless:
        return _COLOURLESS_DARK if dark else _COLOURLESS_LIGHT
    return (_DARK if dark else _LIGHT)[color]


def chart_colors(*, dark: bool) -> ChartColors:
    return _CHART_DARK if dark else _CHART_LIGHT


def ramp(*, dark: bool) -> tuple[str, ...]:
    """Colours of a heat map from small to large values, the small ones near the background."""
    return _RAMP if dark else _RAMP[::-1]


if __name__ == "__main__":
    for is_dark in (True, False):
        print({name: shade(name, dark=is_dark).line for name in SERIES_COLORS})
    assert ramp(dark=True)[0] == ramp(dark=False)[-1]
    print("=== 自测通过 ===")
