"""Maps true colours to the sixteen of a simple terminal, by hue and lightness.

The nearest of the sixteen in RGB would do worse: that of a light green is white.
"""

from __future__ import annotations

from colorsys import rgb_to_hls
from functools import lru_cache
from typing import Any

from rich.color import Color as RichColor
from rich.color import ColorType
from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.color import Color
from textual.filter import LineFilter

_HUES = (1, 3, 2, 6, 4, 5)
"""ANSI numbers of red, yellow, green, cyan, blue and magenta: 60 degrees of hue each."""
_BLACK, _GREY, _DARK_GREY, _WHITE = 0, 7, 8, 15
_BRIGHT = 8
_LIGHT = (2, 3, 6, _GREY, 10, 11, 14, _WHITE)
"""Backgrounds that need black text."""
_LEAST_SATURATION = 0.2


def has_sixteen_colours(app: App[Any]) -> bool:
    """Whether the terminal has sixteen colours and colours are not disabled."""
    return app.console.color_system == "standard" and not app.no_color


def has_few_colours(app: App[Any]) -> bool:
    """Whether lines of different colours may look the same: with sixteen colours or none."""
    return app.no_color or has_sixteen_colours(app)


class Ansi16Filter(LineFilter):
    """Replace every true colour by one of the sixteen."""

    def __init__(self, *, dark: bool) -> None:
        super().__init__()
        self._dark = dark

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            Segment(text, style and _in_sixteen(style, self._dark, text != " "), control)
            for text, style, control in segments
        ]


@lru_cache(1024)
def _in_sixteen(style: Style, dark: bool, has_text: bool) -> Style:
    """The style in sixteen colours; where there is text, it contrasts with its background."""
    front = _number(style.color, dark)
    back = _number(style.bgcolor, dark)
    if has_text and front is not None and back is not None and _unreadable(front, back):
        front = _BLACK if back in _LIGHT else _WHITE
    colors = [None if color is None else RichColor.from_ansi(color) for color in (front, back)]
    return style + Style.from_color(*colors)


def _unreadable(front: int, back: int) -> bool:
    """Whether both are the same hue, normal or bright; dark grey on black can be read."""
    return front % _BRIGHT == back % _BRIGHT and {front, back} != {_BLACK, _DARK_GREY}


def _number(color: RichColor | None, dark: bool) -> int | None:
    """The ANSI number of a colour, None for the default colour of the terminal."""
    if color is None or color.type is ColorType.DEFAULT:
        return None
    red, green, blue = color.get_truecolor()
    hue, lightness, saturation = rgb_to_hls(red / 255, green / 255, blue / 255)
    if lightness > 0.9:
        return _WHITE
    if saturation < _LEAST_SATURATION or max(red, green, blue) - min(red, green, blue) < 24:
        if lightness < (0.15 if dark else 0.3):
            return _BLACK
        return _DARK_GREY if lightness < 0.55 else _GREY
    if lightness < 0.1:
        return _BLACK
    return _HUES[int(hue * 6 + 0.5) % 6] + (_BRIGHT if lightness > 0.55 else 0)


if __name__ == "__main__":
    from lmm_tui.metrics.drawing.palette import SERIES_COLORS, shade

    for name in SERIES_COLORS:
        print(name, *(_number(RichColor.parse(shade(name, dark=d).line), d) for d in (True, False)))
    print("=== 自测通过 ===")
