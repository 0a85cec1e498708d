"""A word in passing, on any screen."""

from __future__ import annotations

from textual.screen import Screen

from lmm_tui.i18n.language import tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.terminal.safe_text import clean


class Toasts(Screen[None]):
    """A mixin of screens."""

    def toast(self, text: str, title: str, *, severe: bool = False) -> None:
        """Say something of foreign origin, told again, cleaned and not as markup."""
        self.notify(
            clean(translate_message(text), newlines="keep"),
            title=tr(title),
            severity="warning" if severe else "information",
            markup=False,
        )


if __name__ == "__main__":
    import asyncio

    from textual.app import App

    async def say() -> str:
        app: App[None] = App()
        async with app.run_test(size=(60, 10), notifications=True) as pilot:
            screen = Toasts()
            await app.push_screen(screen)
            screen.toast("[b]wrote\x1b[2J it[/b]", "export")
            await pilot.pause()
            return str(app.screen.query_one("Toast").render())

    said = asyncio.run(say())
    print(said)
    assert "[b]" in said and "\x1b" not in said
    print("=== 自测通过 ===")
