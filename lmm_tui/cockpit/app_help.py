"""Help and command palette of the app: both show the key table and do what its keys do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from typing import Protocol, runtime_checkable

from textual import events
from textual.app import SystemCommand
from textual.command import CommandPalette, Provider, SearchIcon
from textual.screen import Screen

from lmm_tui.cockpit.app_colours import ColourfulApp
from lmm_tui.cockpit.command_search import CommandSearch
from lmm_tui.cockpit.keys import KEYS, Key
from lmm_tui.cockpit.messages import CONFIGURE, OVERLAY
from lmm_tui.cockpit.moved_keys import moved
from lmm_tui.cockpit.screens.base_screen import BaseScreen
from lmm_tui.cockpit.widgets.key_bar import shown_key
from lmm_tui.i18n.language import tr


def _later(name: str) -> Callable[[], type[Provider]]:
    """A search of the palette that is imported when the palette opens."""

    def load() -> type[Provider]:
        made: type[Provider] = getattr(import_module("lmm_tui.cockpit.palette_search"), name)
        return made

    return load


@runtime_checkable
class Explaining(Protocol):
    """A screen that explains a part of it at a time."""

    def explained(self) -> tuple[str, str]:
        """A title and a text about where the focus is; both empty where nothing is to be said."""


class Palette(CommandPalette):
    """Textual's in one line of text, without its emoji, which many fonts do not have."""

    DEFAULT_CSS = """
    Palette #--input { height: 1; border: none; background: $panel; }
    Palette #--input SearchIcon { width: 3; margin: 0; padding: 0 1; color: $accent; }
    Palette #--input Input { height: 1; border: none; padding: 0; }
    Palette > Vertical { margin-top: 2; }
    """

    def on_mount(self) -> None:
        shown = self.query_one(SearchIcon)
        shown.icon = ":"
        shown.refresh()


class HelpfulApp(ColourfulApp):
    """Subclasses say which screen is the dashboard."""

    ENABLE_COMMAND_PALETTE = True
    COMMANDS = {CommandSearch, *map(_later, ("RunSearch", "MetricSearch", "SettingSearch"))}

    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()
        """Ids of moved keys that were told."""
        self._knows_old_keys = False

    def on_key(self, event: events.Key) -> None:
        """Tell once what a key of an earlier version is now; what it does now, it does."""
        places = self._places(self.screen)
        row = moved(event.key, places, knows_old=self._knows_old_keys)
        if row is not None and row.id not in self._told:
            self._told.add(row.id)
            said = tr("{what} is on {key} now", what=row.label, key=shown_key(row))
            self.notify(said, title=tr("{key} has moved", key=event.character or event.key))

    def is_dashboard(self, screen: Screen[object]) -> bool:
        raise NotImplementedError

    def action_help(self) -> None:
        from lmm_tui.cockpit.screens.help import HelpScreen

        below = self.screen

        async def press(key: Key | None) -> None:
            if key is not None:
                await self._press(below, key.action)

        about = below.explained() if isinstance(below, Explaining) else ("", "")
        self.push_screen(HelpScreen(*self._places(below), about=about), press)

    def action_command_palette(self) -> None:
        """With a prompt that says what is in it."""
        if not isinstance(self.screen, CommandPalette):
            self.push_screen(
                Palette(placeholder=tr("Search commands, runs, metrics, settings: lr 1e-4"))
            )

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette offers what the keys do, and Textual's choice of themes."""
        for key in KEYS:
            if key.palette and key.where in ("app", *self._places(screen)):
                yield SystemCommand(
                    key.label.capitalize(),
                    tr(key.help),
                    partial(self._press, screen, key.action),
                )
        yield SystemCommand(
            tr("Choose a theme"), tr("Pick one of all themes"), self.action_change_theme
        )

    def _places(self, screen: Screen[object]) -> tuple[str, ...]:
        """The parts of the key table whose keys work on a screen."""
        if isinstance(screen, BaseScreen):
            return (screen.PLACE,)
        if screen.name == CONFIGURE:
            return (CONFIGURE,)
        if screen.name == OVERLAY:
            return ("charts", "overlay")
        return ("dashboard", "charts") if self.is_dashboard(screen) else ()

    async def _press(self, screen: Screen[object], action: str) -> None:
        await self.run_action(action, screen)


if __name__ == "__main__":
    app = HelpfulApp()
    app.is_dashboard = lambda screen: True  # type: ignore[method-assign]
    print([command.title for command in app.get_system_commands(Screen())])
    print("=== 自测通过 ===")
