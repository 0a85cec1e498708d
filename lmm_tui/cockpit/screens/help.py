"""All keys by group, those of the screen below first, with a search."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from lmm_tui.cockpit import style_sheets
from lmm_tui.cockpit.keys import Key, help_groups
from lmm_tui.cockpit.screens.dialogs import pressed
from lmm_tui.cockpit.widgets.filter_input import FilterInput
from lmm_tui.cockpit.widgets.key_list import KeyList
from lmm_tui.i18n.language import mark, tr
from lmm_tui.terminal.safe_text import clean
from lmm_tui.user_folders import user_settings

CHARTS = mark("""\
Dim band: lowest to highest value in a column. Line: smoothed. Marks: validation.
Dotted levels: random guess (ln V), word frequencies (unigram entropy), bigram entropy.""")

MOUSE = mark("""\
Click: set the cursor. Drag: zoom to the range. Wheel: zoom. Drag on the x axis or with ctrl: pan.
A click on a key in this list or in the key bar presses it.""")


def _shown_file() -> str:
    return clean(str(user_settings() / "keys.toml"))


class HelpScreen(ModalScreen[Key | None]):
    """Dismissed with a key that was clicked; `where` are the parts of the table that work below.

    Closed by the key that opened it, by escape and by q.
    """

    CSS_PATH = style_sheets.SCREENS
    BINDINGS = [
        Binding("escape,question_mark,f1,q", "dismiss", "close", id="help.close", show=False),
        Binding("slash", "find", "search", id="help.find", show=False),
        Binding("i", "names", "names", id="help.names", show=False),
    ]
    AUTO_FOCUS = "#keys"

    def __init__(self, *where: str, about: tuple[str, str] = ("", "")) -> None:
        """`about` is what the screen below explains at present: a title and a text."""
        super().__init__()
        self._where = where
        self._about = about

    def compose(self) -> ComposeResult:
        groups = sorted(help_groups(), key=lambda group: not self._is_of_here(group[1]))
        with Vertical(id="help") as panel:
            panel.border_title = tr("keys")
            panel.border_subtitle = pressed(
                tr("/ search · i names for keys.toml · esc close"), "dismiss"
            )
            yield FilterInput(tr("search keys"))
            title, text = self._about
            if title:
                yield Static(Content.assemble((title, "bold"), "\n", text), id="about")
            notes = (
                (tr("Charts"), tr(CHARTS)),
                (tr("Mouse"), tr(MOUSE)),
                (
                    tr("Your own keys"),
                    tr("{file} gives a name other keys:", file=_shown_file())
                    + '\n"run.pause" = "f5,space"',
                ),
            )
            yield KeyList(groups, notes, id="keys")

    def _is_of_here(self, keys: list[Key]) -> bool:
        return any(key.where in self._where for key in keys)

    @on(KeyList.Clicked)
    def _press(self, message: KeyList.Clicked) -> None:
        if message.key.where in ("app", *self._where):
            self.dismiss(message.key)

    def action_find(self) -> None:
        self.query_one(FilterInput).open()

    def action_names(self) -> None:
        self.query_one(KeyList).toggle_names()

    @on(FilterInput.Edited)
    def _find(self, message: FilterInput.Edited) -> None:
        self.query_one(KeyList).search(message.text)

    @on(FilterInput.Left)
    def _left(self) -> None:
        self.query_one(KeyList).focus()


if __name__ == "__main__":
    screen = HelpScreen("runs")
    for title, keys in help_groups():
        print(title, screen._is_of_here(list(keys)))
    print("=== 自测通过 ===")
