"""An Input of one row whose placeholder is cut with `…` if it is too long.

Textual wraps a long placeholder at a word, and the rest is not visible. Its own Input also lays the
whole screen out anew after each character.
"""

from __future__ import annotations

from typing import Any

from rich.cells import cell_len
from rich.highlighter import Highlighter
from rich.text import Text
from textual.geometry import Size
from textual.reactive import Reactive, reactive
from textual.widgets import Input

from lmm_tui.terminal.safe_text import REPLACEMENT, clean, fit


class TextInput(Input):
    """`prompt` is the whole placeholder."""

    prompt: reactive[str] = reactive("", repaint=False)
    # How far its text can be scrolled: a change moves nothing around it.
    virtual_size = Reactive(Size(0, 0), layout=False)

    def __init__(self, value: str = "", *, prompt: str = "", **more: Any) -> None:
        """`more` are arguments of Input."""
        super().__init__(value, placeholder=prompt, compact=True, **more)
        self.set_reactive(TextInput.prompt, prompt)

    def watch_prompt(self) -> None:
        self._cut()

    def on_resize(self) -> None:
        self._cut()

    def _cut(self) -> None:
        whole = cell_len(self.prompt)
        self.placeholder = fit(self.prompt, min(self.content_size.width or whole, whole))


class VisibleText(Highlighter):
    """Replaces control characters, so that none is sent to the terminal."""

    def __call__(self, text: str | Text) -> Text:
        plain = text.plain if isinstance(text, Text) else text
        shown = "".join((clean(char) or REPLACEMENT)[0] for char in plain)
        return Text(shown, no_wrap=True, overflow="ignore", end="")

    def highlight(self, text: Text) -> None:
        """No colours: `__call__` does all."""


if __name__ == "__main__":
    entry = TextInput(prompt="the name of the run to start")
    print(entry.placeholder, "|", fit(entry.prompt, 20))
    print("=== 自测通过 ===")
