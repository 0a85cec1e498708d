"""The first line of every screen but the dashboard: tabs of all screens, and facts at the right.

A click on a tab opens its screen, as its digit does. The screens are those of the key table.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from rich.cells import cell_len
from textual import events
from textual.content import Content

from lmm_tui.cockpit.keys import KEYS, SHORT_NAMES, Key
from lmm_tui.cockpit.widgets.key_bar import shown_key
from lmm_tui.cockpit.widgets.styled_line import Part, StyledLine
from lmm_tui.i18n.language import tr
from lmm_tui.terminal.safe_text import clean, fit

_SCREENS = [key for key in KEYS if key.id.startswith("go.")]
_OF_RANKS = "ranks"
"""Offered only for a run that has them."""
_QUIET = "$foreground 70%"
_BETWEEN, _MARGIN = " · ", "  "
_LEAST_SUBJECT = 8
"""Cells; a shorter subject is left out."""


class ScreenTabs(StyledLine):
    """` 1 dashboard  2 runs  … `, and at the right a subject with facts about it.

    On a short line screens have short names, then the subject is cut or left out, then only the
    first screens have names and the others their digits.
    """

    def __init__(self, opened: str, id: str | None = None) -> None:
        """`opened` is the name of the screen with this line."""
        super().__init__(id=id)
        self._opened = opened
        self._subject = ""
        self._facts: tuple[Part, ...] = ()

    def show(self, *facts: str | Part, subject: str = "") -> None:
        """Show facts at the right, cleaned here; the subject is the name of a run, for instance."""
        self._subject = clean(subject)
        parts = [(fact, _QUIET) if isinstance(fact, str) else fact for fact in facts]
        self._facts = tuple((clean(text), style) for text, style in parts)
        self.reword()

    def compose_line(self, width: int) -> Content:
        shown = self._offered()
        names = {key.title: key.label for key in shown}
        short = names | {title: tr(name) for title, name in SHORT_NAMES.items() if title in names}
        facts = self._right_end(self._subject)
        for named, end in ((names, " "), (names, ""), (short, "")):
            tabs = self._tabs(named, end)
            if tabs.cell_length + facts.cell_length < width:
                return _at_the_ends(tabs, facts, width)
        facts = self._right_end("")
        for count in range(len(short), -1, -1):
            tabs = self._tabs(dict(islice(short.items(), count)), "")
            if tabs.cell_length + facts.cell_length < width:
                break
        room = width - tabs.cell_length - facts.cell_length - cell_len(_BETWEEN) - 1
        if room >= _LEAST_SUBJECT:
            facts = self._right_end(fit(self._subject, min(room, cell_len(self._subject))))
        return _at_the_ends(tabs, facts, width)

    def _right_end(self, subject: str) -> Content:
        before = [(subject + _BETWEEN, _QUIET)] if subject else []
        return Content.assemble(*before, *self._facts, (_MARGIN, _QUIET))

    async def on_click(self, event: events.Click) -> None:
        """Return to the marked screen from a screen that it opened."""
        if event.style.reverse:  # The marked tab; links are not reversed.
            await self.run_action(f"app.go('{self._opened}')")

    def _tabs(self, names: Mapping[str, str], end: str) -> Content:
        """All screens with their digits; those in `names` with a name, too."""
        return Content.assemble(*(self._tab(key, names, end) for key in self._offered()))

    def _offered(self) -> list[Key]:
        """The screens that are offered."""
        of_ranks = self._opened == _OF_RANKS or (self.is_attached and has_ranks(self.app))
        return [key for key in _SCREENS if of_ranks or key.title != _OF_RANKS]

    def _tab(self, key: Key, names: Mapping[str, str], end: str) -> Content:
        shown, name = shown_key(key), names.get(key.title, "")
        if key.title == self._opened:
            marked = f"{shown} {name or key.label}"
            if not end:  # A gap at its left, or it would touch the name before it.
                return Content.assemble(" ", (marked, "bold $accent reverse"))
            return Content.styled(f" {marked} ", "bold $accent reverse")
        return Content.from_markup(
            f"[@click={key.action}] [$accent]$shown[/][$foreground 70%]$title[/][/]",
            shown=shown,
            title=f" {name}{end}" if name else "",
        )


def has_ranks(app: Any) -> bool:
    """Whether several processes train the open run of the cockpit."""
    dashboard = getattr(app, "dashboard", None)
    return dashboard is not None and dashboard.session.run_dir.ranks_file.exists()


def _at_the_ends(tabs: Content, facts: Content, width: int) -> Content:
    facts = facts.truncate(max(width - tabs.cell_length - 1, 0), ellipsis=True)
    return Content.assemble(tabs, " " * (width - tabs.cell_length - facts.cell_length), facts)


if __name__ == "__main__":
    line = ScreenTabs("checkpoints")
    line.show("12 checkpoints", subject="pretrain-nano-7")
    for columns in (140, 100, 80, 60, 40):
        print(line.compose_line(columns))
        assert line.compose_line(columns).cell_length == columns
    print("=== 自测通过 ===")
