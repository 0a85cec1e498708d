"""The base of all full screens: `look` is called at an interval while the screen is on top.

A screen that is covered costs nothing; behind a dialog only its header goes on. Slow work runs in
threads that post messages back, and short answers are shown as toasts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.message import Message
from textual.reactive import Reactive
from textual.screen import ModalScreen, Screen
from textual.timer import Timer
from textual.widget import Widget

from lmm_tui.cockpit import style_sheets
from lmm_tui.cockpit.screens.background_thread import run_in_background
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.terminal.safe_text import clean


class PollingScreen(Screen[None]):
    """Subclasses implement `look`."""

    CSS_PATH = style_sheets.SCREENS
    LOOK_EVERY_S: ClassVar[float] = 2.0

    # What gets or loses the focus paints itself: Textual would paint the whole screen as well.
    focused = Reactive[Widget | None](None, repaint=False)

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self._timer: Timer | None = None
        self._period = 0.0
        self._intervals: list[Timer] = []
        self._under_dialogs: list[Timer] = []
        self._covered = False
        self._busy: set[str] = set()

    def look(self) -> None:
        """Show what is new; called when the screen comes to the top, and then at its interval."""
        raise NotImplementedError

    def look_every(self, seconds: float) -> None:
        """Set the interval, which is LOOK_EVERY_S at first."""
        if seconds != self._period:
            self._period = seconds
            if self._timer is not None:
                self._timer.stop()
                self._intervals.remove(self._timer)
            self._timer = self.at_intervals(seconds, self.look)

    def at_intervals(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call it while the screen is on top."""
        timer = self.set_interval(seconds, call, pause=self._covered)
        self._intervals.append(timer)
        return timer

    def behind_dialogs(self, seconds: float, call: Callable[[], None]) -> None:
        """Call it while a dialog stands on this screen, which shows through."""

        def look() -> None:
            stack = self.app.screen_stack  # Empty while the app ends.
            if self in stack[-2:-1] and isinstance(stack[-1], ModalScreen):
                call()
                stack[-1].refresh()

        self._under_dialogs.append(self.set_interval(seconds, look, pause=True))

    def on_screen_resume(self) -> None:
        self._covered = False
        for timer in self._under_dialogs:
            timer.pause()
        for timer in self._intervals:
            timer.resume()
        if not self._period:
            self.look_every(self.LOOK_EVERY_S)
        self.look()

    def on_screen_suspend(self) -> None:
        self._covered = True
        for timer in self._intervals:
            timer.pause()
        if any(isinstance(top, ModalScreen) for top in self.app.screen_stack[-1:]):
            for timer in self._under_dialogs:
                timer.resume()

    @property
    def busy(self) -> bool:
        """Whether work in the background is still going on."""
        return bool(self._busy)

    def in_background(
        self,
        name: str,
        work: Callable[[], Message],
        refused: Callable[[str], Message] | None = None,
    ) -> bool:
        """As `run_in_background`; False, and nothing done, while work of this name is running."""
        if name in self._busy:
            return False
        self._busy.add(name)

        def finish() -> Message:
            try:
                return work()
            finally:  # Right before the message: who sees that it has ended sees what came of it.
                self.call_later(lambda: self._busy.discard(name))

        run_in_background(self, name, finish, refused)
        return True

    async def _on_message(self, message: Message) -> None:
        """Results that come while the app ends are dropped.

        Of a screen that is not on the stack Textual then takes away the parts first.
        """
        if self.app.is_running or not type(message).__module__.startswith("lmm_tui."):
            await super()._on_message(message)

    def toast(self, text: str, title: str, *, severe: bool = False) -> None:
        """Show a message of any origin: translated, without control characters or markup."""
        self.notify(
            clean(translate_message(text), newlines="keep"),
            title=tr(title),
            severity="warning" if severe else "information",
            markup=False,
        )


if __name__ == "__main__":
    from queue import Queue

    screen, inbox = PollingScreen(), Queue[Message]()
    screen.post_message = inbox.put  # type: ignore[method-assign, assignment]
    screen.in_background("read", Message)
    print(screen.busy, inbox.get(timeout=30), inbox.get(timeout=30))
    print("=== 自测通过 ===")
