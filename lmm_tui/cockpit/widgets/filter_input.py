"""An input line that filters a list, visible while it is open or not empty.

Every edit posts `Edited`; leaving it posts `Left`.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual import events
from textual.geometry import NULL_SIZE
from textual.message import Message
from textual.reactive import Reactive
from textual.widgets import Input

from lmm_tui.cockpit.widgets.text_input import TextInput


class FilterInput(TextInput):
    """Enter and the arrow keys keep the text, escape clears it."""

    DEFAULT_CSS = """
    FilterInput { display: none; }
    FilterInput.-textual-compact { height: 1; padding: 0 2; background: $surface; }
    """

    # Its width is fixed, but Textual would lay out the screen again for every letter.
    virtual_size = Reactive(NULL_SIZE, layout=False, repaint=False)

    @dataclass
    class Edited(Message):
        """The text was edited."""

        text: str

    @dataclass
    class Left(Message):
        """The input was left with `text`, empty if it was cleared."""

        text: str

    def __init__(self, prompt: str, id: str | None = None) -> None:
        super().__init__(prompt=prompt, id=id)

    def open(self) -> None:
        self.display = True
        self.focus()

    def leave(self, *, drop: bool) -> None:
        if drop:
            self.value = ""
        self.display = bool(self.value)
        self.post_message(self.Left(self.value))

    def on_blur(self) -> None:
        self.display = bool(self.value)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Edited(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.leave(drop=False)

    def on_key(self, event: events.Key) -> None:
        if event.key in ("escape", "up", "down"):
            event.stop()
            event.prevent_default()
            self.leave(drop=event.key == "escape")


if __name__ == "__main__":
    entry = FilterInput("filter")
    print(entry.prompt, entry.Edited("sft"), entry.Left(""))
    print("=== 自测通过 ===")
