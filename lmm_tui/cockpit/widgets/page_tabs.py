"""The titles of pages with the open one marked; a click opens a page.

No digits are shown: they open screens, and n and N turn pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual.content import Content

from lmm_tui.cockpit.widgets.styled_line import StyledLine
from lmm_tui.terminal.safe_text import clean

_MORE = 4
"""Cells of a sign that there are more pages."""
_MOST_DOTS = 16
"""More pages of one title are counted, as `3/125`."""


class PageTabs(StyledLine):
    """` overview ●○○  loss …`: pages of one title are one tab; the open one has a dot for each,
    or says which of many is open.

    On a short line only the open tab and as many around it as fit are shown.
    """

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
        tabs = self._joined()
        opened = next(at for at, tab in enumerate(tabs) if tab.first <= self._open <= tab.last)
        first, last = _fitting(tabs, opened, width)
        shown = [self._tab(tab) for tab in tabs[first : last + 1]]
        if first > 0:
            shown.insert(0, _link(tabs[first - 1].first, "‹"))
        if last + 1 < len(tabs):
            shown.append(_link(tabs[last + 1].first, "›"))
        return Content(" ").join(shown)

    def _joined(self) -> list[_Tab]:
        tabs: list[_Tab] = []
        for index, title in enumerate(self._titles):
            if tabs and tabs[-1].title == title:
                tabs[-1] = _Tab(title, tabs[-1].first, index)
            else:
                tabs.append(_Tab(title, index, index))
        return tabs

    def _tab(self, tab: _Tab) -> Content:
        if not tab.first <= self._open <= tab.last:
            return _link(tab.first, tab.title)
        if tab.first == tab.last:
            return Content.styled(f" {tab.title} ", "bold $accent")
        at, many = self._open - tab.first, tab.last - tab.first + 1
        if many > _MOST_DOTS:
            return Content.styled(f" {tab.title} {at + 1}/{many} ", "bold $accent")
        dots = [
            Content.styled("●", "$accent") if number == at else _link(tab.first + number, "○", "")
            for number in range(many)
        ]
        return Content.assemble((f" {tab.title} ", "bold $accent"), *dots, " ")


@dataclass(frozen=True)
class _Tab:
    """Pages of one title, from `first` to `last`."""

    title: str
    first: int
    last: int

    @property
    def cells(self) -> int:
        """Its width if it is open, with its dots or numbers."""
        many = self.last - self.first + 1
        marks = many if many <= _MOST_DOTS else 2 * len(f"{many}") + 1
        return cell_len(self.title) + (marks + 1 if many > 1 else 0)


def _fitting(tabs: Sequence[_Tab], opened: int, width: int) -> tuple[int, int]:
    """The first and the last tab of those that fit around the open one."""
    first = last = opened
    room = width - tabs[opened].cells - 2 - 2 * _MORE
    while True:
        around = [index for index in (last + 1, first - 1) if 0 <= index < len(tabs)]
        sizes = {index: cell_len(tabs[index].title) + 3 for index in around}
        fitting = [index for index in around if sizes[index] <= room]
        if not fitting:
            return first, last
        chosen = min(fitting, key=lambda index: abs(index - opened))
        first, last = min(first, chosen), max(last, chosen)
        room -= sizes[chosen]


def _link(index: int, text: str, around: str = " ") -> Content:
    return Content.from_markup(
        f"[@click=screen.open_page({index + 1})]$tab[/]", tab=f"{around}{text}{around}"
    )


if __name__ == "__main__":
    tabs = PageTabs()
    tabs.show(("overview", "overview", "loss", "probes"), 0)
    for columns in (60, 20):
        print(tabs.compose_line(columns))
    assert tabs.compose_line(60).plain.startswith(" overview ●○ ")
    tabs.show(("overview", *["other"] * 40), 3)
    assert "other 3/40" in tabs.compose_line(60).plain
    print("=== 自测通过 ===")
