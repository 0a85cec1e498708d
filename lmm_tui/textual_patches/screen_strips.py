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
    import asyncio

    from textual.app import App, ComposeResult
    from textual.widgets import Static

    class Demo(App[None]):
        def compose(self) -> ComposeResult:
            yield Static("loss 2.71")

    async def show() -> str:
        app = Demo()
        async with app.run_test(size=(20, 2)):
            return screen_text(app.screen)

    print(text := asyncio.run(show()))
    assert text.rstrip() == "loss 2.71"
    print("=== 自测通过 ===")
