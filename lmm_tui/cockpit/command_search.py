"""Search of the command palette among what the keys do, with their keys beside them.

Commands match by their translated or their English name, or by their help: English names need no
input method. A query without any match offers the list of keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from rich.cells import cell_len
from textual.command import DiscoveryHit, Hit, Hits, Matcher, Provider
from textual.content import Content

from lmm_tui.cockpit.keys import KEYS
from lmm_tui.cockpit.widgets.screen_tabs import has_ranks
from lmm_tui.i18n.language import tr
from lmm_tui.terminal.safe_text import clean

NAME_WIDTH = 48
"""Cells of the names: what stands at the right of them lines up."""
_FALLBACK_SCORE = 1e-6
"""The score of the fallback, below that of any match."""
_BY_HELP = 1e-3
"""The score of words in the help, which say less than the name."""


def row(name: Content | str, beside: str) -> Content:
    """A name with a key or a kind at its right."""
    shown = Content(clean(name)) if isinstance(name, str) else name
    gap = " " * max(NAME_WIDTH - shown.cell_length, 1)
    return Content.assemble(shown, gap, (clean(beside), "$accent"))


def found(
    matcher: Matcher, name: str, beside: str, do: Callable[[], Any], help_text: str, weight: float
) -> Hit | None:
    """A hit for a name that matches; `weight` sorts the kinds of things that are found."""
    name = clean(name)
    score = matcher.match(name)
    if not score:
        return None
    shown = matcher.highlight(name)
    if cell_len(name) > NAME_WIDTH:
        shown = shown.truncate(NAME_WIDTH, ellipsis=True)
    return Hit(score * weight, row(shown, beside), do, text=name, help=help_text)


class CommandSearch(Provider):
    """The commands of the screen below and of the app, and the help if none matches."""

    def _commands(self) -> Iterator[tuple[str, str, Callable[[], Any], str, str]]:
        """Name, help, what to do, English name and keys."""
        rows = {(key.label.capitalize(), tr(key.help)): key for key in KEYS}
        for name, help_text, callback, _ in self.app.get_system_commands(self.screen):
            key = rows.get((name, help_text))
            if key and key.id == "go.ranks" and not has_ranks(self.app):
                continue
            shown = "" if key is None else key.key_display
            yield name, help_text, callback, name if key is None else key.title, shown

    async def discover(self) -> Hits:
        for name, help_text, callback, _, keys in self._commands():
            yield DiscoveryHit(row(name, keys), callback, text=name, help=help_text)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        nothing = True
        for name, help_text, callback, english, keys in self._commands():
            score = matcher.match(name)
            meant = _BY_HELP if query.casefold() in help_text.casefold() else 0.0
            if best := max(score, matcher.match(english), meant):
                nothing = False
                shown = matcher.highlight(name) if score else Content(name)
                yield Hit(best, row(shown, keys), callback, text=name, help=help_text)
        if nothing:
            yield Hit(
                _FALLBACK_SCORE,
                tr("Show all keys"),
                self.app.action_help,  # type: ignore[attr-defined]
                help=tr("No command has such a name"),
            )


if __name__ == "__main__":
    for each in KEYS:
        if each.palette:
            print(row(each.label.capitalize(), each.key_display))
    print("=== 自测通过 ===")
