"""Draws the screen behind a dialog, tinted by the colour of the dialog's background.

Textual 8.2 composes that screen anew by Rich (`textual.renderables.background_screen`) and computes
two colours for every piece of it, three times while a dialog opens; here a colour is computed once.
It knows no screen by name.
"""

from __future__ import annotations

from functools import lru_cache

import textual.screen
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.css.styles import RulesMap
from textual.screen import Screen
from textual.strip import Strip
from textual.style import Style as VisualStyle
from textual.visual import RenderOptions, Visual

from lmm_tui.textual_patches.screen_strips import screen_strips


class Backdrop(Visual):
    """A screen tinted by a translucent `color`, without links and click actions."""

    def __init__(self, screen: Screen[object], color: Color) -> None:
        self._screen, self._color = screen, color

    def render_strips(
        self, width: int, height: int | None, style: VisualStyle, options: RenderOptions
    ) -> list[Strip]:
        color = self._color
        return [
            Strip([Segment(text, _tint(ink, color)) for text, ink, _ in strip], strip.cell_length)
            for strip in screen_strips(self._screen)
        ]

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:
        return self._screen.size.width

    def get_height(self, rules: RulesMap, width: int) -> int:
        return self._screen.size.height


@lru_cache(4096)
def _tint(style: Style | None, color: Color) -> Style:
    bare = Style() if style is None else style.clear_meta_and_links()
    inks = (
        (Color.from_rich_color(ink) + color).rich_color if ink else None
        for ink in (bare.color, bare.bgcolor)
    )
    return bare + Style.from_color(*inks)


def install() -> None:
    """For every dialog that is painted from now on."""
    textual.screen.BackgroundScreen = Backdrop  # type: ignore[misc, assignment]


if __name__ == "__main__":
    print(_tint(Style.parse("bold red on white"), Color(0, 0, 0, 0.6)))
    install()
    print("=== 自测通过 ===")
