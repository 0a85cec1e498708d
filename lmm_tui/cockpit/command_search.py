"""Search of the command palette: commands match by their translated or their English name.

English names need no input method. A query without any match offers the list of keys.
"""

from __future__ import annotations

from textual.command import Hit, Hits
from textual.system_commands import SystemCommandsProvider

from lmm_tui.cockpit.keys import KEYS
from lmm_tui.i18n.language import tr

_FALLBACK_SCORE = 1e-6
"""The score of the fallback, below that of any match."""


class CommandSearch(SystemCommandsProvider):
    """The commands of the app, and the help if none matches."""

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        english = {key.label.capitalize(): key.title for key in KEYS}
        found = False
        for name, help_text, callback, _ in self.app.get_system_commands(self.screen):
            score = matcher.match(name)
            if best := max(score, matcher.match(english.get(name, ""))):
                found = True
                shown = matcher.highlight(name) if score else name
                yield Hit(best, shown, callback, help=help_text)
        if not found:
            yield Hit(
                _FALLBACK_SCORE,
                tr("No match"),
                self.app.action_help,  # type: ignore[attr-defined]
                help=tr("Show all keys and what they do"),
            )


if __name__ == "__main__":
    print(*(key.label.capitalize() for key in KEYS if key.palette))
    print("=== 自测通过 ===")
