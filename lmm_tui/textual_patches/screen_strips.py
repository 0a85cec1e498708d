"""What a screen shows, line by line: Textual has no public way to ask for it."""

from __future__ import annotations

from typing import Any

from textual.screen import Screen
from textual.strip import Strip


def screen_strips(screen: Screen[Any]) -> list[Strip]:
    """All lines of a screen, from the top."""
    compositor = screen._compositor
    # Ours does not render what is covered.
    return getattr(compositor, "whole_lines", compositor.render_strips)()


def screen_text(screen: Screen[Any]) -> str:
    """The same without styles."""
    return "\n".join(strip.text.rstrip() for strip in screen_strips(screen))


if __name__ == "__main__":
    lines = [Strip.blank(4), Strip.blank(4)]
    demo = Screen[None]()
    demo._compositor.whole_lines = lambda: lines  # type: ignore[attr-defined]
    print(screen_strips(demo), repr(screen_text(demo)))
    print("=== 自测通过 ===")
