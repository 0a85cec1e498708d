"""An Input of one row whose placeholder is cut with `…` if it is too long.

Textual wraps a long placeholder at a word, and the rest is not visible. Its own Input also lays the
whole screen out anew after each character.
"""

from __future__ import annotations

from typing import Any

from rich.cells import cell_len
from textual.geometry import Size
from textual.reactive import Reactive, reactive
from textual.widgets import Input

from lmm_tui.terminal.safe_text import fit


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


if __name__ == "__main__":
    entry = TextInput(prompt="the name of the run to start")
    print(entry.placeholder, "|", fit(entry.prompt, 20))
    print("=== 自测通过 ===")
