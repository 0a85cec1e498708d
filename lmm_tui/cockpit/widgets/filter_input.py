"""A line to type what a list shall be narrowed to; it is there only while it is used.

It knows nothing of the list: every edit is told, and so is the end.
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
    """Opened by its screen; enter keeps what was typed, escape drops it."""

    DEFAULT_CSS = """
    FilterInput { display: none; }
    FilterInput.-textual-compact { height: 1; padding: 0 2; background: $surface; }
    """

    # It is as wide as its screen: Textual would lay out the screen for every letter.
    virtual_size = Reactive(NULL_SIZE, layout=False, repaint=False)

    @dataclass
    class Edited(Message):
        """What is wanted now."""

        text: str

    @dataclass
    class Left(Message):
        """The list has the keys again; `text` stays in force, empty where it was dropped."""

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
    import asyncio

    from textual.app import App, ComposeResult

    class Demo(App[None]):
        said: list[str] = []

        def compose(self) -> ComposeResult:
            yield FilterInput("filter")

        def on_filter_line_edited(self, message: FilterInput.Edited) -> None:
            self.said.append(message.text)

    async def narrow() -> list[str]:
        app = Demo()
        async with app.run_test(size=(40, 4)) as pilot:
            app.query_one(FilterInput).open()
            await pilot.press("s", "f", "t", "enter")
        return app.said

    print(edits := asyncio.run(narrow()))
    assert edits == ["s", "sf", "sft"]
    print("=== 自测通过 ===")
