"""What the screens beside the dashboard have in common: one line that says where one is, keys.

A screen looks at what it shows only while it is the one on top, at its own pace; so nothing is
read twice, and a covered screen costs nothing. What it shows is its own business.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.message import Message
from textual.reactive import Reactive
from textual.timer import Timer
from textual.widget import Widget

from lmm_tui.cockpit.keys import Where, bindings
from lmm_tui.cockpit.screens.toasts import Toasts
from lmm_tui.cockpit.widgets.key_bar import ScreenKeys
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs


class BaseScreen(Toasts):
    """A screen with a number; `PLACE` is its name in the key table."""

    PLACE: ClassVar[Where]
    TAB: ClassVar[Where | None] = None
    """The numbered screen that it is reached from, where it has no number of its own."""
    LOOK_EVERY_S: ClassVar[float] = 2.0
    BINDINGS = bindings("place")

    # What gets or loses the focus paints itself: Textual would paint the whole screen as well.
    focused = Reactive[Widget | None](None, repaint=False)

    def __init__(self) -> None:
        super().__init__()
        self._looking: Timer | None = None
        self._busy: set[str] = set()

    def compose(self) -> ComposeResult:
        yield ScreenTabs(self.TAB or self.PLACE)
        yield from self.compose_body()
        yield ScreenKeys(self.PLACE)

    def compose_body(self) -> ComposeResult:
        """What stands between the first line and the last."""
        raise NotImplementedError

    def look(self) -> None:
        """Show what is new; called when the screen comes to the top, and then at its pace."""
        raise NotImplementedError

    def on_screen_resume(self) -> None:
        if self._looking is None:
            self._looking = self.set_interval(self.LOOK_EVERY_S, self.look)
        self._looking.resume()
        self.look()

    def on_screen_suspend(self) -> None:
        if self._looking is not None:
            self._looking.pause()

    async def action_back(self) -> None:
        await self.run_action(f"app.go('{self.TAB or 'dashboard'}')")

    @property
    def busy(self) -> bool:
        """Whether something that was asked for is still being done."""
        return bool(self._busy)

    def in_background(self, name: str, work: Callable[[], Message]) -> bool:
        """Do `work` in a thread and post what it returns; False where `name` is still at it.

        A plain daemon thread: Textual would wait for its workers when it ends.
        """
        if name in self._busy:
            return False
        self._busy.add(name)

        def run() -> None:
            try:
                done = work()
            finally:
                self._busy.discard(name)
            self.post_message(done)

        threading.Thread(target=run, name=name, daemon=True).start()
        return True


if __name__ == "__main__":
    import asyncio

    from textual.app import App
    from textual.widgets import Static

    class Demo(BaseScreen):
        PLACE = "runs"
        looks = 0

        def compose_body(self) -> ComposeResult:
            yield Static("nothing here")

        def look(self) -> None:
            self.looks += 1

    async def show() -> int:
        app: App[None] = App()
        async with app.run_test(size=(80, 24)) as pilot:
            demo = Demo()
            await app.push_screen(demo)
            await pilot.pause()
            return demo.looks

    looked = asyncio.run(show())
    print(looked)
    assert looked >= 1
    print("=== 自测通过 ===")
