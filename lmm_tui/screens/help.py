"""Every key of the one table, by group, those of the screen below first; with search."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import HorizontalGroup, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from lmm_tui.keys import Key, help_groups
from lmm_tui.language import mark, tr
from lmm_tui.locations import config_file
from lmm_tui.text import clean
from lmm_tui.widgets.filter_line import FilterLine

CHARTS = mark("""\
Dim band: lowest to highest value in a column. Line: smoothed. Marks: held-out text.
Dotted levels: ln V is guessing, unigram and bigram entropy are counting words.""")

_WIDE = 100


def _shown_file() -> str:
    return clean(str(config_file("keys.toml")))


class _Row(HorizontalGroup):
    """A key, what it does, and by which name it can be given other keys."""

    def __init__(self, key: Key) -> None:
        super().__init__()
        self.key = key

    def compose(self) -> ComposeResult:
        yield Static(Content(self.key.shown), classes="key")
        yield Static(Content(tr(self.key.help)), classes="meaning")
        yield Static(Content(self.key.id), classes="name")

    def matches(self, words: list[str]) -> bool:
        said = (self.key.title, self.key.help)
        text = " ".join((self.key.shown, *said, *map(tr, said), self.key.id)).casefold()
        return all(word in text for word in words)


class HelpScreen(ModalScreen[None]):
    """Closed by the key that opened it, by escape and by q; `where`: the places below."""

    BINDINGS = [
        Binding("escape,question_mark,f1,q", "dismiss", "close", id="help.close", show=False),
        Binding("slash", "find", "search", id="help.find", show=False),
    ]
    AUTO_FOCUS = "#keys"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (_WIDE, "-wide")]

    def __init__(self, *where: str) -> None:
        super().__init__()
        self._where = where

    def compose(self) -> ComposeResult:
        groups = sorted(help_groups(), key=lambda group: not self._is_of_here(group[1]))
        with Vertical(id="help") as panel:
            panel.border_title = tr("keys")
            panel.border_subtitle = tr("/ searches · esc closes")
            yield FilterLine(tr("search keys"))
            with VerticalScroll(id="keys"):
                for title, keys in groups:
                    with Vertical(classes="section"):
                        yield Static(tr(title), classes="group")
                        for key in keys:
                            yield _Row(key)
                yield Static(tr("Charts"), classes="group")
                yield Static(tr(CHARTS))
                yield Static(tr("Your own keys"), classes="group")
                yield Static(
                    Content(
                        tr("{file} gives a name other keys:", file=_shown_file())
                        + '\n"run.pause" = "f5,space"'
                    )
                )

    def _is_of_here(self, keys: list[Key]) -> bool:
        return any(key.where in self._where for key in keys)

    def action_find(self) -> None:
        self.query_one(FilterLine).open()

    @on(FilterLine.Edited)
    def _find(self, message: FilterLine.Edited) -> None:
        words = message.text.casefold().split()
        for section in self.query(".section"):
            rows = section.query(_Row)
            for row in rows:
                row.display = row.matches(words)
            section.display = any(row.display for row in rows)
        self.query_one("#keys").scroll_home(animate=False)

    @on(FilterLine.Left)
    def _left(self) -> None:
        self.query_one("#keys").focus()


if __name__ == "__main__":
    import asyncio

    from textual.app import App

    async def show() -> int:
        app: App[None] = App()
        async with app.run_test(size=(80, 24)) as pilot:
            await app.push_screen(HelpScreen())
            await pilot.press("slash", *"pause")
            return sum(row.display for row in app.screen.query(_Row))

    shown = asyncio.run(show())
    print(shown, "keys")
    assert 0 < shown < sum(len(keys) for _, keys in help_groups())
    print("=== 自测通过 ===")
