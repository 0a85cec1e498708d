"""The names of the pages with the open one marked, where there is more than one; a click turns.

n and N turn them too: digits are for screens, so none is shown here.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from lmm_tui.widgets.line import Line


class PageStrip(Line):
    """`loss  gradients  …`; dots where that is too long; hidden for a single page."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._titles: tuple[str, ...] = ()
        self._open = 0
        self.display = False

    def show(self, titles: tuple[str, ...], opened: int) -> None:
        if (titles, opened) != (self._titles, self._open):
            self._titles, self._open = titles, opened
            self.display = len(titles) > 1
            self.reword()

    def compose_line(self, width: int) -> Content:
        titled = self._tabs(self._titles)
        if titled.cell_length <= width:
            return titled
        return self._tabs(
            [title if index == self._open else "·" for index, title in enumerate(self._titles)]
        )

    def _tabs(self, titles: Sequence[str]) -> Content:
        tabs = []
        for index, title in enumerate(titles):
            tab = f" {title} "
            tabs.append(
                Content.styled(tab, "bold $accent")
                if index == self._open
                else Content.from_markup(f"[@click=screen.open_page({index + 1})]$tab[/]", tab=tab)
            )
        return Content(" ").join(tabs)


if __name__ == "__main__":
    strip = PageStrip()
    strip._titles = ("loss", "gradients", "probes")
    for columns in (60, 14):
        print(strip.compose_line(columns))
    assert strip.compose_line(60).plain.startswith(" loss ")
    print("=== 自测通过 ===")
