"""The Textual app: wires screens, keys and themes to a run, and knows when to leave the terminal.

It owns no training: it is given a session, or a function that starts a run, and returns a
Departure that says what its owner shall do next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from textual import events
from textual.app import App, SystemCommand
from textual.screen import Screen

from lmm_errors import LmmError
from lmm_tui import themes
from lmm_tui.capture import Terminal
from lmm_tui.keys import KEYS, bindings
from lmm_tui.messages import Departure
from lmm_tui.screens.help import HelpScreen
from lmm_tui.screens.quit_dialog import QuitDialog
from lmm_tui.screens.too_small import TooSmallScreen, too_small
from lmm_tui.text import clean

if TYPE_CHECKING:
    from engine.config import RunConfig
    from lmm_tui.screens.dashboard import DashboardScreen
    from lmm_tui.session import RunSession

_FEEL_TERMINAL_EVERY_S = 0.5


class CockpitApp(App[Departure]):
    """A screen on one run.

    With `session` it opens the dashboard. With `config` it asks for the configuration first and
    calls `start` with it, in a thread; LmmError from there is shown and the question asked again.
    `owned` runs train in this process. `on_painted` is called once, after the first paint.
    """

    CSS_PATH = "cockpit.tcss"
    TITLE = "lmm-tui"
    BINDINGS = bindings("app")
    ENABLE_COMMAND_PALETTE = True

    def __init__(
        self,
        session: RunSession | None = None,
        *,
        config: RunConfig | None = None,
        start: Callable[[RunConfig], RunSession] | None = None,
        owned: bool = False,
        terminal: Terminal | None = None,
        on_painted: Callable[[], None] | None = None,
        notice: str = "",
    ) -> None:
        self._session = session
        super().__init__()
        self._config = config
        self._start = start
        self._owned = owned
        self._terminal = terminal
        self._on_painted = on_painted
        self._notice = notice
        self._event_loop: asyncio.AbstractEventLoop | None = None
        self._leaving: Departure | None = None
        self.animation_level = "none"
        self.register_theme(themes.DARK)
        self.register_theme(themes.LIGHT)
        wanted = themes.preferred()
        self.theme = wanted if wanted in self.available_themes else themes.DARK.name

    @property
    def dashboard(self) -> DashboardScreen | None:
        """The dashboard, covered or not, once there is a run."""
        if self._session is None:
            return None
        from lmm_tui.screens.dashboard import DashboardScreen

        for screen in self.screen_stack:
            if isinstance(screen, DashboardScreen):
                return screen
        return None

    def leave_soon(self, departure: Departure) -> None:
        """Leave the screen; may be called from a signal handler or another thread."""
        self._leaving = departure
        if self._event_loop is not None:
            self._event_loop.call_soon_threadsafe(self.exit, departure)

    def interrupt(self) -> None:
        """As if ctrl+c had been pressed; may be called from a signal handler."""
        if self._event_loop is not None:
            self._event_loop.call_soon_threadsafe(self.action_request_quit)

    def get_default_screen(self) -> Screen[None]:
        return Screen() if self._session is None else self._make_dashboard(self._session)

    def _make_dashboard(self, session: RunSession) -> DashboardScreen:
        # Charts need numpy, 0.2 s: the configure screen opens without.
        from lmm_tui.screens.dashboard import DashboardScreen

        return DashboardScreen(session, owned=self._owned)

    def on_mount(self) -> None:
        if self._terminal is not None:
            self._terminal.claim_prints()
            self.set_interval(_FEEL_TERMINAL_EVERY_S, self._feel_terminal)
        if self._config is not None:
            self._configure(self._config)
        if self._notice:
            self.notify(self._notice, severity="warning", markup=False)
        self.call_after_refresh(self._painted)

    def _painted(self) -> None:
        # Not before: an app that exits while it mounts leaves half-made screens.
        self._event_loop = asyncio.get_running_loop()
        if self._leaving is not None:
            self.exit(self._leaving)
        elif self._on_painted is not None:
            self._on_painted()

    def _feel_terminal(self) -> None:
        """A dead terminal would keep Textual's input thread spinning."""
        if self._terminal is not None and self._terminal.hung_up:
            self.exit(Departure.HANGUP)

    # From a configuration to a run

    def _configure(self, config: RunConfig) -> None:
        from lmm_tui.screens.configure import ConfigureScreen

        self.push_screen(ConfigureScreen(config), self._configured)

    def _configured(self, config: RunConfig | None) -> None:
        if config is None:
            self.exit(Departure.QUIT)
        else:
            self.run_worker(self._begin(config), name="start")

    async def _begin(self, config: RunConfig) -> None:
        assert self._start is not None
        try:
            self._session = await asyncio.to_thread(self._start, config)
        except LmmError as error:
            self._configure(config)
            self.notify(clean(str(error)), title="not started", severity="error", markup=False)
            return
        self.push_screen(self._make_dashboard(self._session))

    # Keys

    def action_request_quit(self) -> None:
        """Ask how to leave a live run; a second request in a row leaves."""
        dashboard = self.dashboard
        if dashboard is None or not dashboard.session.view.active:
            self.exit(Departure.QUIT)
        elif isinstance(self.screen, QuitDialog | TooSmallScreen):
            self.exit(Departure.DETACH)
        else:
            self.push_screen(QuitDialog(owned=dashboard.owned), self._answered)

    def _answered(self, departure: Departure | None) -> None:
        if departure is not None:
            self.exit(departure)

    def action_help(self) -> None:
        self.push_screen(HelpScreen())

    def action_toggle_theme(self) -> None:
        self.theme = themes.other(self.theme)

    async def action_quit(self) -> None:
        self.action_request_quit()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette offers what the keys do, and Textual's choice of themes."""
        for key in KEYS:
            if key.palette and (key.where == "app" or screen is self.dashboard):
                yield SystemCommand(
                    key.title.capitalize(), key.help, partial(self._press, screen, key.action)
                )
        yield SystemCommand("Choose a theme", "Pick one of all themes", self.action_change_theme)

    async def _press(self, screen: Screen[object], action: str) -> None:
        await self.run_action(action, screen)

    # Size

    def on_resize(self, event: events.Resize) -> None:
        small = isinstance(self.screen, TooSmallScreen)
        if too_small(event.size) and not small:
            self.push_screen(TooSmallScreen())
        elif small and not too_small(event.size):
            self.pop_screen()


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    from engine.rundir import RunDir, RunInfo, RunStatus
    from lmm_tui.session import RunSession

    async def leave_a_finished_run(path: Path) -> Departure | None:
        run = RunDir(path)
        run.write_info(RunInfo("demo", "pretrain", 0.0, 0.0, "box", 1, 0.0))
        run.write_status(RunStatus("finished", 10, 10))
        app = CockpitApp(RunSession(path))
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("question_mark", "escape", "t", "q")
        return app.return_value

    with tempfile.TemporaryDirectory() as folder:
        left = asyncio.run(leave_a_finished_run(Path(folder)))
    print(left)
    assert left is Departure.QUIT
    print("=== 自测通过 ===")
