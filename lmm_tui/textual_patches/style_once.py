"""A style sheet is parsed once, and a new screen is styled once.

Textual 8.2 parses all style sheets again when a screen brings one of its own and when the theme is
set before the start. It styles a widget with each class that it is given before it is mounted, as
it is mounted, and once more when its screen is shown first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from textual.app import App
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode
from textual.events import ScreenResume
from textual.screen import Screen

_SOURCES = 512
"""More than there are: one of 64 forgets each just before it is asked for again."""


def install() -> None:
    """For all apps that are made from now on."""
    Stylesheet.__init__ = _with_room(Stylesheet.__init__)  # type: ignore[method-assign]
    Stylesheet.set_variables = _if_changed(Stylesheet.set_variables)  # type: ignore[method-assign]
    Stylesheet.reparse = _with_cache(Stylesheet.reparse)  # type: ignore[method-assign]
    RuleSet.__hash__ = object.__hash__  # type: ignore[method-assign]  # Theirs, not in Python.
    DOMNode.update_node_styles = _if_mounted(DOMNode.update_node_styles)  # type: ignore[method-assign]
    App._load_screen_css = _with_its_own(App._load_screen_css)  # type: ignore[method-assign]
    Screen._on_screen_resume = _styled_once(Screen._on_screen_resume)  # type: ignore[method-assign]


def _with_room(init: Callable[..., None]) -> Callable[..., None]:
    @wraps(init)
    def init_with_room(self: Stylesheet, **named: Any) -> None:
        init(self, **named)
        self._parse_cache.grow(_SOURCES)

    return init_with_room


def _if_changed(set_variables: Callable[..., None]) -> Callable[..., None]:
    @wraps(set_variables)
    def set_if_changed(self: Stylesheet, variables: dict[str, str]) -> None:
        if variables != self._variables:
            set_variables(self, variables)

    return set_if_changed


def _with_cache(reparse: Callable[..., None]) -> Callable[..., None]:
    """Theirs does it in a new style sheet, which remembers nothing."""

    @wraps(reparse)
    def parse(self: Stylesheet) -> None:
        self.parse()

    return parse


def _if_mounted(update: Callable[..., None]) -> Callable[..., None]:
    @wraps(update)
    def update_if_mounted(self: DOMNode, animate: bool = True) -> None:
        if self._parent is not None or isinstance(self, App):
            update(self, animate)

    return update_if_mounted


def _with_its_own(load: Callable[..., None]) -> Callable[..., None]:
    """Theirs reads the style sheet of a screen that is styled already, and not yet in the tree."""

    @wraps(load)
    def load_and_apply(self: App[Any], screen: Screen[Any]) -> None:
        known = len(self.stylesheet.source)
        load(self, screen)
        if len(self.stylesheet.source) != known:
            self.stylesheet.apply(screen)

    return load_and_apply


def _styled_once(resume: Callable[..., None]) -> Callable[..., None]:
    @wraps(resume)
    def resume_styled(self: Screen[Any], event: ScreenResume) -> None:
        if not getattr(self, "_was_shown", False):
            self._was_shown = True  # type: ignore[attr-defined]
            event.refresh_styles = False
        resume(self, event)

    return resume_styled


if __name__ == "__main__":
    install()
    sheet = Stylesheet(variables={"colour": "red"})
    sheet.add_source("Widget { color: $colour; }")
    first = sheet.rules[0]
    sheet.reparse()
    assert sheet.rules[0] is first and sheet.rules_map["Widget"] == [first]
    print("=== 自测通过 ===")
