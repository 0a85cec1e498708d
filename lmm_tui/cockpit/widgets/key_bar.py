"""The last line of a screen: its keys from the key table, as many as fit.

A click on a key runs its action.
"""

from __future__ import annotations

from functools import lru_cache

from textual.content import Content

from lmm_tui.cockpit.keys import KEYS, Key, Where, bar_keys
from lmm_tui.cockpit.widgets.styled_line import StyledLine
from lmm_tui.i18n.language import tr

_NEXT_PAGE = "view.next"
_OF_LIVE_RUNS = tuple(
    key.id for key in KEYS if key.id.startswith("run.") and key.id != "run.export"
)


class ScreenKeys(StyledLine):
    """The keys of a screen; on a short line those with the highest `bar` rank are left out."""

    def __init__(self, *where: Where, id: str | None = None) -> None:
        super().__init__(id=id)
        self._where = where
        self._without: frozenset[str] = frozenset()

    def leave_out(self, *ids: str) -> None:
        """Show all but these, which do nothing at present."""
        if self._without != frozenset(ids):
            self._without = frozenset(ids)
            self.reword()

    def compose_line(self, width: int) -> Content:
        keys = bar_keys(*self._where)
        texts = {key.id: self._text(key) for key in keys if key.id not in self._without}
        for key in sorted(keys, key=lambda key: key.bar, reverse=True):
            if sum(part.cell_length for part in texts.values()) <= width:
                break
            texts.pop(key.id, None)
        return Content.assemble(*texts.values())

    def _text(self, key: Key) -> Content:
        return pressable(key, key.label)


class KeyBar(ScreenKeys):
    """The keys of the dashboard, only those that work in the present state of the run."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__("dashboard", "charts", id=id)
        self._without = frozenset((_NEXT_PAGE,))
        self._paused = False
        self._zoomed = False

    def show(self, *, active: bool, paused: bool, zoomed: bool, pages: int) -> None:
        self.leave_out(*(() if active else _OF_LIVE_RUNS), *(() if pages > 1 else (_NEXT_PAGE,)))
        if (paused, zoomed) != (self._paused, self._zoomed):
            self._paused, self._zoomed = paused, zoomed
            self.reword()

    def _text(self, key: Key) -> Content:
        if key.id == "run.pause" and self._paused:
            return pressable(key, tr("resume"))
        if key.id == "view.zoom" and self._zoomed:
            return pressable(key, tr("unzoom"))
        return pressable(key, key.label)


class FormKeys(StyledLine):
    """The keys of the configure screen in the order of the table, as many as fit."""

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
    """The display name of its first key."""
    return key.key_display.split()[0]


def pressable(key: Key, title: str) -> Content:
    """` p probe ` with a link to the action of the key."""
    namespace = "" if key.action.startswith("app.") else "screen."
    return _linked(f"{namespace}{key.action}", shown_key(key), title)


@lru_cache(512)  # Each line is composed again whenever something of it may have changed.
def _linked(action: str, shown: str, title: str) -> Content:
    return Content.from_markup(
        f"[@click={action}] [bold $accent]$shown[/] [$foreground 80%]$title[/] [/]",
        shown=shown,
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
