"""The help screen: every key of the one table, by group, and where to read on."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import HorizontalGroup, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from lmm_tui.keys import help_groups

CHARTS = """\
Dim band: lowest to highest value in a column. Line: smoothed. Marks: held-out text.
Dotted levels: ln V is guessing, unigram and bigram entropy are counting words."""


class HelpScreen(ModalScreen[None]):
    """Closed by the key that opened it, by escape and by q."""

    BINDINGS = [
        Binding("escape,question_mark,f1,q", "dismiss", "close", id="help.close", show=False)
    ]
    AUTO_FOCUS = "#help"

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help") as panel:
            panel.border_title = "keys"
            panel.border_subtitle = "esc closes"
            for group, keys in help_groups():
                yield Static(group, classes="group")
                for key in keys:
                    with HorizontalGroup():
                        yield Static(Content(key.shown), classes="key")
                        yield Static(Content(key.help), classes="meaning")
            yield Static("Charts", classes="group")
            yield Static(CHARTS)


if __name__ == "__main__":
    import asyncio

    from textual.app import App

    async def show() -> int:
        app: App[None] = App()
        async with app.run_test(size=(80, 24)):
            await app.push_screen(HelpScreen())
            return len(app.screen.query(".key"))

    shown = asyncio.run(show())
    print(shown, "keys")
    assert shown == sum(len(keys) for _, keys in help_groups())
    print("=== 自测通过 ===")
