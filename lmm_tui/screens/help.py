"""The help screen: every key of the one table, by group, and where to read on."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from lmm_tui.keys import help_groups

_KEY_WIDTH = 14


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
            yield Static(help_text())


def help_text() -> Content:
    """All groups as one text."""
    blocks = []
    for group, keys in help_groups():
        rows = [
            Content.assemble((f"{key.shown:<{_KEY_WIDTH}}", "bold $accent"), key.help)
            for key in keys
        ]
        blocks.append(Content("\n").join([Content.styled(group, "bold"), *rows]))
    blocks.append(
        Content.assemble(
            ("Charts", "bold"),
            "\nDim band: lowest to highest value in a column. Line: smoothed. Marks: held-out text."
            "\nDashed levels: ln V is guessing, unigram and bigram entropy are counting.",
        )
    )
    return Content("\n\n").join(blocks)


if __name__ == "__main__":
    print(help_text())
    assert "ctrl+p" in help_text().plain
    print("=== 自测通过 ===")
