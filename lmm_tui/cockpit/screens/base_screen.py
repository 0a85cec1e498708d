"""The base of the screens beside the dashboard: a line of screen names above, the keys below."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult

from lmm_tui.cockpit.keys import Where, bindings
from lmm_tui.cockpit.screens.polling_screen import PollingScreen
from lmm_tui.cockpit.widgets.key_bar import ScreenKeys
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs


class BaseScreen(PollingScreen):
    """A screen of the key table, in which `PLACE` is its name."""

    PLACE: ClassVar[Where]
    TAB: ClassVar[Where | None] = None
    """The numbered screen that it is reached from, where it has no number of its own."""
    BINDINGS = bindings("place")

    def compose(self) -> ComposeResult:
        yield ScreenTabs(self.TAB or self.PLACE)
        yield from self.compose_body()
        yield ScreenKeys(self.PLACE)

    def compose_body(self) -> ComposeResult:
        """What stands between the first line and the last."""
        raise NotImplementedError

    async def action_back(self) -> None:
        await self.run_action(f"app.go('{self.TAB or 'dashboard'}')")


if __name__ == "__main__":
    import asyncio

    from textual.app import App
    from textual.widgets import Static

    class Demo(BaseScreen):
        PLACE = "runs"

        def compose_body(self) -> ComposeResult:
            yield Static("nothing here")

        def look(self) -> None:
            self.query_one(ScreenTabs).show("no runs")

    async def show() -> list[str]:
        app: App[None] = App()
        async with app.run_test(size=(80, 24)):
            await app.push_screen(Demo())
            return [type(child).__name__ for child in app.screen.children]

    print(shown := asyncio.run(show()))
    assert shown[:3] == ["ScreenTabs", "Static", "ScreenKeys"]
    print("=== 自测通过 ===")
