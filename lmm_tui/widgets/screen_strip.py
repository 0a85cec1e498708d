"""The first line of the screens beside the dashboard: all screens with this one marked, and facts.

A click on a name opens it, as its digit does. It knows no screen but by the key table.
"""

from __future__ import annotations

from textual import events
from textual.content import Content

from lmm_tui.keys import KEYS, Key
from lmm_tui.text import clean
from lmm_tui.widgets.key_bar import shown_key
from lmm_tui.widgets.line import Line, Part


class ScreenStrip(Line):
    """` 1 dashboard  2 runs  … `, numbers alone where that is too long; at the right `facts`."""

    def __init__(self, opened: str, id: str | None = None) -> None:
        """`opened` is the name of the screen that this line stands on."""
        super().__init__(id=id)
        self._opened = opened
        self._facts: tuple[Part, ...] = ()

    def show(self, *facts: Part) -> None:
        """What stands at the right end: parts of a line, cleaned here."""
        self._facts = tuple((clean(text), style) for text, style in facts)
        self.reword()

    def compose_line(self, width: int) -> Content:
        facts = Content.assemble(*self._facts)
        tabs = self._tabs(named=True)
        if tabs.cell_length + facts.cell_length >= width:
            tabs = self._tabs(named=False)
        room = max(width - tabs.cell_length - 1, 0)
        facts = facts.truncate(room, ellipsis=True)
        return Content.assemble(tabs, " " * (width - tabs.cell_length - facts.cell_length), facts)

    async def on_click(self, event: events.Click) -> None:
        """Back to the marked screen from one that is reached from it: a link has other colours."""
        if event.style.reverse:
            await self.run_action(f"app.go('{self._opened}')")

    def _tabs(self, *, named: bool) -> Content:
        screens = [key for key in KEYS if key.id.startswith("go.")]
        return Content.assemble(*(self._tab(key, named=named) for key in screens))

    def _tab(self, key: Key, *, named: bool) -> Content:
        shown = shown_key(key)
        if key.title == self._opened:
            return Content.styled(f" {shown} {key.named} ", "bold $accent reverse")
        return Content.from_markup(
            f"[@click={key.action}] [$accent]$shown[/][$foreground 70%]$title[/][/]",
            shown=shown,
            title=f" {key.named} " if named else "",
        )


if __name__ == "__main__":
    strip = ScreenStrip("runs")
    strip._facts = (("12 runs ", ""),)
    for columns in (120, 40):
        print(strip.compose_line(columns))
        assert strip.compose_line(columns).cell_length == columns
    print("=== 自测通过 ===")
