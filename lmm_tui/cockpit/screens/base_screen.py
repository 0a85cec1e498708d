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
    print(*BaseScreen.BINDINGS, sep="\n")
    print("=== 自测通过 ===")
