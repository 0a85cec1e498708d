"""The names of the pages with the open one marked, where there is more than one; a click turns."""

from __future__ import annotations

from textual.content import Content

from lmm_tui.widgets.line import Line


class PageStrip(Line):
    """`1 loss  2 gradients …`; numbers only where that is too long; hidden for a single page."""

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
        titled = self._tabs(all_titles=True)
        return titled if titled.cell_length <= width else self._tabs(all_titles=False)

    def _tabs(self, *, all_titles: bool) -> Content:
        tabs = []
        for index, title in enumerate(self._titles):
            opened = index == self._open
            tab = f" {index + 1} {title} " if all_titles or opened else f" {index + 1} "
            tabs.append(
                Content.styled(tab, "bold $accent")
                if opened
                else Content.from_markup(f"[@click=screen.open_page({index + 1})]$tab[/]", tab=tab)
            )
        return Content(" ").join(tabs)


if __name__ == "__main__":
    strip = PageStrip()
    strip._titles = ("loss", "gradients", "probes")
    print(strip.compose_line(60))
    assert strip.compose_line(60).plain.startswith(" 1 loss ")
    print("=== 自测通过 ===")
