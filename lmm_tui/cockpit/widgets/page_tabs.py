"""The titles of pages with the open one marked; a click opens a page.

No digits are shown: they open screens, and n and N turn pages.
"""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content

from lmm_tui.cockpit.widgets.styled_line import StyledLine
from lmm_tui.terminal.safe_text import clean

_MORE = 4
"""Cells of a sign that there are more pages."""


class PageTabs(StyledLine):
    """` loss  gradients …`, or on a short line the open page and as many around it as fit."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._titles: tuple[str, ...] = ("",)
        self._open = 0

    def show(self, titles: tuple[str, ...], opened: int) -> None:
        """Titles may contain a typed search text: they are cleaned."""
        if (titles, opened) != (self._titles, self._open):
            self._titles, self._open = tuple(map(clean, titles)), opened
            self.reword()

    def compose_line(self, width: int) -> Content:
        first, last = self._fitting(width)
        tabs = [self._tab(index, self._titles[index]) for index in range(first, last + 1)]
        if first > 0:
            tabs.insert(0, self._tab(first - 1, "‹"))
        if last + 1 < len(self._titles):
            tabs.append(self._tab(last + 1, "›"))
        return Content(" ").join(tabs)

    def _fitting(self, width: int) -> tuple[int, int]:
        """The first and the last page of those that fit around the open one."""
        first = last = self._open
        room = width - cell_len(self._titles[self._open]) - 2 - 2 * _MORE
        while True:
            around = [index for index in (last + 1, first - 1) if 0 <= index < len(self._titles)]
            sizes = {index: cell_len(self._titles[index]) + 3 for index in around}
            fitting = [index for index in around if sizes[index] <= room]
            if not fitting:
                return first, last
            chosen = min(fitting, key=lambda index: abs(index - self._open))
            first, last = min(first, chosen), max(last, chosen)
            room -= sizes[chosen]

    def _tab(self, index: int, title: str) -> Content:
        if index == self._open:
            return Content.styled(f" {title} ", "bold $accent")
        return Content.from_markup(
            f"[@click=screen.open_page({index + 1})]$tab[/]", tab=f" {title} "
        )


if __name__ == "__main__":
    tabs = PageTabs()
    tabs.show(("loss", "gradients", "probes"), 0)
    for columns in (60, 14):
        print(tabs.compose_line(columns))
    assert tabs.compose_line(60).plain.startswith(" loss ")
    print("=== 自测通过 ===")
