"""The last line: the keys that work now, from the one table, as many as fit.

A click on one presses it.
"""

from __future__ import annotations

from textual.content import Content

from lmm_tui.cockpit.keys import KEYS, Key, Where, bar_keys
from lmm_tui.cockpit.widgets.styled_line import StyledLine
from lmm_tui.i18n.language import tr


class ScreenKeys(StyledLine):
    """The keys of a screen; where the line is short, those of the last ranks go first."""

    def __init__(self, *where: Where, id: str | None = None) -> None:
        super().__init__(id=id)
        self._where = where

    def compose_line(self, width: int) -> Content:
        keys = bar_keys(*self._where)
        worded = {key.id: self._word(key) for key in keys if self._useful(key)}
        for key in sorted(keys, key=lambda key: key.bar, reverse=True):
            if sum(part.cell_length for part in worded.values()) <= width:
                break
            worded.pop(key.id, None)
        return Content.assemble(*worded.values())

    def _useful(self, key: Key) -> bool:
        return True

    def _word(self, key: Key) -> Content:
        return pressable(key, key.label)


class KeyBar(ScreenKeys):
    """`p probe  space pause  …`; says `resume` while the run is paused, and only what can work."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__("dashboard", "charts", id=id)
        self._active = True
        self._paused = False
        self._pages = 1

    def show(self, *, active: bool, paused: bool, pages: int) -> None:
        asked = active, paused, pages
        if asked != (self._active, self._paused, self._pages):
            self._active, self._paused, self._pages = asked
            self.reword()

    def _useful(self, key: Key) -> bool:
        if key.id.startswith("run.") and key.id != "run.export":
            return self._active
        return key.id != "view.next" or self._pages > 1

    def _word(self, key: Key) -> Content:
        resumes = key.id == "run.pause" and self._paused
        return pressable(key, tr("resume") if resumes else key.label)


class FormKeys(StyledLine):
    """The keys of the configure screen, the first of the table first, as many as fit."""

    def compose_line(self, width: int) -> Content:
        line = Content()
        for key in KEYS:
            if key.where == "configure":
                longer = line + pressable(key, key.label)
                if longer.cell_length > width:
                    break
                line = longer
        return line


def shown_key(key: Key) -> str:
    """The first of its keys, as a person calls it."""
    return key.key_display.split()[0]


def pressable(key: Key, title: str) -> Content:
    """` p probe `; a click does what the key does."""
    namespace = "" if key.action.startswith("app.") else "screen."
    return Content.from_markup(
        f"[@click={namespace}{key.action}] [bold $accent]$shown[/] [$foreground 80%]$title[/] [/]",
        shown=shown_key(key),
        title=title,
    )


if __name__ == "__main__":
    keys = KeyBar()
    for columns in (140, 50):
        print(keys.compose_line(columns))
        assert keys.compose_line(columns).cell_length <= columns
    assert "q quit" in keys.compose_line(40).plain
    print(FormKeys().compose_line(80))
    print("=== 自测通过 ===")
