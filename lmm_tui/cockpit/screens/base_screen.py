"""The base of the screens beside the dashboard: screen names and the open run above, keys below."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, cast

from textual.app import ComposeResult
from textual.screen import Screen

from lmm_tui.cockpit.keys import Where, bindings
from lmm_tui.cockpit.screens.polling_screen import PollingScreen
from lmm_tui.cockpit.widgets.key_bar import ScreenKeys
from lmm_tui.cockpit.widgets.run_header import RunHeader
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs

RUN_EVERY_S = 2.0


class RunTeller(Protocol):
    """The dashboard, covered by another screen."""

    def tell(self, header: RunHeader) -> None:
        """Read what is new of the run, and show it in a header."""


def tell_of_run(app: Any, header: RunHeader) -> None:
    """Show the open run of the cockpit; nothing while none is open."""
    if teller := cast(RunTeller | None, getattr(app, "dashboard", None)):
        teller.tell(header)


def keep_told(screen: Screen[Any], header: RunHeader) -> None:
    """Show the open run in a header, now and while the screen is on top."""

    def tell() -> None:
        if screen.is_current:
            tell_of_run(screen.app, header)

    tell_of_run(screen.app, header)
    screen.set_interval(RUN_EVERY_S, tell)


class BaseScreen(PollingScreen):
    """A screen of the key table, in which `PLACE` is its name."""

    PLACE: ClassVar[Where]
    TAB: ClassVar[Where | None] = None
    """The numbered screen that it is reached from, where it has no number of its own."""
    BINDINGS = bindings("place")

    def compose(self) -> ComposeResult:
        yield ScreenTabs(self.TAB or self.PLACE)
        yield RunHeader()
        yield from self.compose_body()
        yield ScreenKeys(self.PLACE)

    def compose_body(self) -> ComposeResult:
        """What stands between the first line and the last."""
        raise NotImplementedError

    def on_mount(self) -> None:
        self.at_intervals(RUN_EVERY_S, self._tell_of_run)
        self.behind_dialogs(RUN_EVERY_S, self._tell_of_run)

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        self._tell_of_run()

    def _tell_of_run(self) -> None:
        tell_of_run(self.app, self.query_one(RunHeader))

    async def action_back(self) -> None:
        await self.run_action(f"app.go('{self.TAB or 'dashboard'}')")


if __name__ == "__main__":
    print(*BaseScreen.BINDINGS, sep="\n")
    print("=== 自测通过 ===")
