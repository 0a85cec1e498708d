"""The Textual app: wires screens, keys and themes to a run, and knows when to leave the terminal.

It does not train: it is given a session, or a function that starts a run, and returns a Departure
that tells its caller what to do next. The dashboard (or the form that comes before it) is at the
bottom of the stack of screens, with at most one other screen and dialogs above it; only the screen
on top reads anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from textual import events
from textual.app import App
from textual.driver import Driver
from textual.screen import Screen

from lmm_tui.cockpit import style_sheets, themes
from lmm_tui.cockpit.app_settings import SettingsApp
from lmm_tui.cockpit.keys import bindings, keymap
from lmm_tui.cockpit.messages import (
    CONFIGURE,
    OVERLAY,
    ColumnsChosen,
    ConfigureRun,
    Departure,
    OpenRun,
    StartFrom,
    TerminalNotice,
)
from lmm_tui.cockpit.preferences import NO_PREFERENCES, Preferences
from lmm_tui.cockpit.screens import form_loader, screen_registry
from lmm_tui.cockpit.screens.base_screen import BaseScreen
from lmm_tui.cockpit.screens.quit_dialog import QuitDialog
from lmm_tui.cockpit.screens.too_small import TooSmallScreen, too_small
from lmm_tui.engine.run.run_dir import RUNS_DIR
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import tr
from lmm_tui.terminal import first_paint, notices
from lmm_tui.terminal.capture import Terminal
from lmm_tui.textual_patches.install import forget_terminal_contents
from lmm_tui.textual_patches.terminal_driver import ending_with_its_terminal, write_to_terminal

if TYPE_CHECKING:
    from lmm_tui.cockpit.screens.dashboard import DashboardScreen
    from lmm_tui.engine.config.run_config import RunConfig
    from lmm_tui.engine.run.reader import Reader

_FEEL_TERMINAL_EVERY_S = 0.5
_LOAD_FORM_AFTER_S = 0.25


class CockpitApp(SettingsApp):
    """The cockpit of one run, with a list of all others.

    With `session` it opens the dashboard. With `config` it asks for the configuration first and
    calls `start` with it, in a thread; LmmError from there is shown and the question asked again.
    With neither it opens the list of runs. `owned` runs train in this process; a run that is
    configured while there is one already gets a process of its own. `on_painted` is called once,
    after the first paint. `habits` are those of the last visit; a run that starts is seen first.
    """

    CSS_PATH = ["cockpit.tcss", style_sheets.FORM]
    TITLE = "lmm-tui"
    BINDINGS = bindings("app")

    def __init__(
        self,
        session: Reader | None = None,
        *,
        config: RunConfig | None = None,
        start: Callable[[RunConfig], Reader] | None = None,
        owned: bool = False,
        terminal: Terminal | None = None,
        on_painted: Callable[[], None] | None = None,
        notice: str = "",
        runs_dir: Path | None = None,
        habits: Preferences = NO_PREFERENCES,
    ) -> None:
        self._session = session
        super().__init__()
        self._config = config
        self._named_stage = config.stage if config else ""
        self._start = start
        self._owned = owned
        self._own = session if owned else None
        self._runs_dir = runs_dir
        self._habits = habits
        self._told = set(habits.told)
        self._knows_old_keys = habits.knows_old_keys
        self._last_dashboard: DashboardScreen | None = None
        self._terminal = terminal
        self._on_painted = on_painted
        self._notice = notice
        self._event_loop: asyncio.AbstractEventLoop | None = None
        self._leaving: Departure | None = None
        self._draft: RunConfig | None = None
        """What was filled into the form before it was left for another screen."""
        self.animation_level = "none"
        self.register_theme(themes.DARK)
        self.register_theme(themes.LIGHT)
        # Textual has taken TEXTUAL_THEME before our themes were there: setting it were no change.
        self.set_reactive(App.theme, "")
        self.theme = themes.preferred(habits.theme, self.available_themes)
        self._theme_at_first = self.theme

    def get_driver_class(self) -> type[Driver]:
        return ending_with_its_terminal(super().get_driver_class())

    @property
    def session(self) -> Reader | None:
        """The run that is open."""
        return self._session

    @property
    def runs_dir(self) -> Path:
        """The folder whose runs are listed."""
        if self._runs_dir is None and self._session is not None:
            return self._session.run_dir.path.parent
        return self._runs_dir or Path(RUNS_DIR)

    @property
    def habits(self) -> Preferences:
        """The preferences to keep for the next start."""
        theme = self._habits.theme if self.theme == self._theme_at_first else self.theme
        habits = replace(self._habits, theme=theme, told=tuple(sorted(self._told)))
        habits = habits.with_sight_of(self._session)
        # Read after the app has ended, too.
        return habits.with_shelf(self._last_dashboard.shelf) if self._last_dashboard else habits

    @property
    def dashboard(self) -> DashboardScreen | None:
        """The dashboard, covered or not, once there is a run."""
        if self._session is None:
            return None
        from lmm_tui.cockpit.screens.dashboard import DashboardScreen

        for screen in self.screen_stack:
            if isinstance(screen, DashboardScreen):
                return screen
        return None

    def is_dashboard(self, screen: Screen[object]) -> bool:
        return screen is self.dashboard

    def leave_soon(self, departure: Departure) -> None:
        """Leave the screen; may be called from a signal handler or another thread."""
        self._leaving = departure
        self._call_soon(self.exit, departure)

    def interrupt(self) -> None:
        """As if ctrl+c had been pressed; may be called from a signal handler."""
        self._call_soon(self.action_request_quit)

    def _call_soon(self, function: Callable[..., object], *args: object) -> None:
        if self._event_loop is not None:
            # Once the app has ended its loop is closed; a signal handler must not raise then.
            with suppress(RuntimeError):
                self._event_loop.call_soon_threadsafe(function, *args)

    def _make_dashboard(self, session: Reader) -> DashboardScreen:
        # Charts need numpy, 0.2 s: the configure screen opens without.
        from lmm_tui.cockpit.screens.dashboard import DashboardScreen

        owned, shelf = session is self._own, self.habits.shelf
        seen = None if owned else self._habits.last_seen(session.run_dir.path)
        self._last_dashboard = DashboardScreen(session, owned=owned, shelf=shelf, seen=seen)
        return self._last_dashboard

    def on_mount(self) -> None:
        self.app_resume_signal.subscribe(self, lambda _: forget_terminal_contents(self))
        if self._terminal is not None:
            self._terminal.claim_prints()
            self.set_interval(_FEEL_TERMINAL_EVERY_S, self._feel_terminal)
        self.set_keymap(keymap())
        if self._session is not None:
            self.push_screen(self._make_dashboard(self._session))
        elif self._config is not None:
            self._configure(self._config)
        else:
            self._go_to("runs")
        if (
            self._session is not None
            and not self._owned
            and self._habits.screen in screen_registry.REGISTERED
        ):
            self._go_to(self._habits.screen)
        if self._notice:
            self.notify(self._notice, severity="warning", markup=False)
        self.call_after_refresh(self._painted)

    def _painted(self) -> None:
        first_paint.arrived()
        # Not before: an app that exits while it mounts leaves half-made screens.
        self._event_loop = asyncio.get_running_loop()
        if self._leaving is not None:
            self.exit(self._leaving)
        elif self._on_painted is not None:
            self._on_painted()
        elif self._config is None:
            self.set_timer(_LOAD_FORM_AFTER_S, form_loader.begin)

    def on_terminal_notice(self, message: TerminalNotice) -> None:
        if self._terminal is not None:
            write_to_terminal(self, notices.notice(message.text))

    def _feel_terminal(self) -> None:
        """A dead terminal would keep Textual's input thread spinning."""
        if self._terminal is not None and self._terminal.hung_up:
            self.exit(Departure.HANGUP)

    # From a configuration to a run

    def _configure(self, config: RunConfig) -> None:
        form_loader.wait()
        from lmm_tui.cockpit.screens.configure import ConfigureScreen

        screen = ConfigureScreen(config, named_stage=self._named_stage)
        self.push_screen(screen, self._configured)

    def _configured(self, config: RunConfig | None) -> None:
        self._draft = None
        if config is not None:
            self.run_worker(self._begin(config), name="start")
        elif self._session is None and not isinstance(self.screen, BaseScreen):
            self.exit(Departure.QUIT)

    async def _begin(self, config: RunConfig) -> None:
        from lmm_tui.runs.detached import start_and_open

        first = self._session is None and self._start is not None
        start = self._start if first and self._start is not None else start_and_open
        try:
            session = await asyncio.to_thread(start, config)
        except LmmError as error:
            self._configure(config)
            self.say(str(error), tr("not started"), "error")
            return
        if first and self._owned and session.view.info.in_this_process:  # Ranks are not.
            self._own = session
        self._open(session)

    # From screen to screen

    def action_go(self, name: str) -> None:
        """Show the screen called `name` in the key table."""
        if self.screen.name == CONFIGURE:
            if name == "configure":
                return
            self._put_form_aside()
        if self.screen.name == OVERLAY:
            self.pop_screen()
        if name == "configure":
            self._configure_another() if self._draft is None else self._configure(self._draft)
        elif name == "dashboard":
            self._go_back()
        elif name in screen_registry.OF_A_RUN and self._session is None:
            self._say_that_no_run_is_open()
        else:
            self._go_to(name)

    def _put_form_aside(self) -> None:
        """Leave the form for another screen; what was filled in is there again on return."""
        from lmm_tui.cockpit.screens.configure import ConfigureScreen

        if isinstance(self.screen, ConfigureScreen):
            self._draft = self.screen.config
            self.pop_screen()

    def _go_to(self, name: str) -> None:
        if not self.is_screen_installed(name):
            around = screen_registry.ScreenContext(
                self.runs_dir, self._session, self._shown_run, self._habits.columns
            )
            self.install_screen(screen_registry.make(name, around), name)
        if isinstance(self.screen, BaseScreen):
            self.switch_screen(name)
        else:
            self.push_screen(name)
        self._habits = replace(self._habits, screen=name)

    def _go_back(self) -> None:
        if self._session is None:
            self._say_that_no_run_is_open()
            return
        if isinstance(self.screen, BaseScreen):
            self.pop_screen()
        self._habits = replace(self._habits, screen="dashboard")

    def show_metric(self, name: str) -> None:
        """Show the charts of a metric on the dashboard."""
        self.action_go("dashboard")
        if self.dashboard is not None:
            self.dashboard.search_metric(name)

    def on_columns_chosen(self, message: ColumnsChosen) -> None:
        self._habits = replace(self._habits, columns=message.columns)

    def _say_that_no_run_is_open(self) -> None:
        self.notify(tr("Press enter to open the selected run."), title=tr("no run is open"))
        if not isinstance(self.screen, BaseScreen):
            self._go_to("runs")

    def on_start_from(self, message: StartFrom) -> None:
        self._configure_another(start_from=str(message.checkpoint))

    def on_configure_run(self, message: ConfigureRun) -> None:
        self._configure(message.config)

    def _configure_another(self, **settings: str) -> None:
        from lmm_tui.engine.config.resolve import resolve
        from lmm_tui.runs.fleets import folder_for_new_runs

        folder = str(folder_for_new_runs(self.runs_dir))
        self._configure(resolve(assignments={"runs_dir": folder, **settings}))

    def _shown_run(self) -> Path | None:
        return None if self._session is None else self._session.run_dir.path

    def on_open_run(self, message: OpenRun) -> None:
        """Open the dashboard of a run that was chosen in a list."""
        from lmm_tui.engine.run.reader import Reader

        try:
            self._open(Reader(message.path))
        except LmmError as error:
            self.say(str(error), tr("not opened"), "error")

    def _open(self, session: Reader) -> None:
        if isinstance(self.screen, BaseScreen):
            self.pop_screen()
        for name in screen_registry.GO_WITH_THE_RUN:
            if self.is_screen_installed(name):
                stale = self.get_screen(name)
                self.uninstall_screen(stale)
                stale.remove()
        self._habits = self._habits.with_sight_of(self._session)
        was_open, self._session = self.dashboard, session
        if was_open is None:
            self.push_screen(self._make_dashboard(session))
        else:
            self.switch_screen(self._make_dashboard(session))
        self._habits = replace(self._habits, screen="dashboard")

    # Keys

    def action_request_quit(self) -> None:
        """Ask how to leave a live run; a second request in a row leaves.

        Where runs are trained in this process the question is about the run that is, whichever
        is shown; a run elsewhere keeps training anyway.
        """
        session = self._own or self._session
        if session is None or not self._is_live(session):
            self.exit(Departure.QUIT)
        elif isinstance(self.screen, QuitDialog | TooSmallScreen):
            self.exit(Departure.DETACH)
        else:
            self.push_screen(QuitDialog(owned=self._own is not None), self._answered)

    def _is_live(self, session: Reader) -> bool:
        if session is not self._session:
            try:
                session.poll(0.0)
            except LmmError:
                return False
        return session.view.active

    def _answered(self, departure: Departure | None) -> None:
        if departure is not None:
            self.exit(departure)

    def action_toggle_theme(self) -> None:
        self.theme = themes.other(self.theme)

    async def action_quit(self) -> None:
        self.action_request_quit()

    # Size

    def on_resize(self, event: events.Resize) -> None:
        small = isinstance(self.screen, TooSmallScreen)
        if too_small(event.size) and not small:
            self.push_screen(TooSmallScreen())
        elif small and not too_small(event.size):
            self.pop_screen()
        # Terminals differ in what they do to their contents then.
        forget_terminal_contents(self)


if __name__ == "__main__":
    app = CockpitApp(runs_dir=Path("elsewhere"))
    print(app.title, app.runs_dir, app.theme)
    print("=== 自测通过 ===")
