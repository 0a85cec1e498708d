"""An Input of one row whose placeholder is cut with `…` if it is too long.

Textual wraps a long placeholder at a word, and the rest is not visible.
"""

from __future__ import annotations

from typing import Any

from rich.cells import cell_len
from textual.reactive import reactive
from textual.widgets import Input

from lmm_tui.terminal.safe_text import fit


class TextInput(Input):
    """`prompt` is the whole placeholder."""

    prompt: reactive[str] = reactive("", repaint=False)

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
    import asyncio

    from textual.app import App, ComposeResult

    class Demo(App[None]):
        def compose(self) -> ComposeResult:
            yield TextInput(prompt="the name of the run to start")

    async def look() -> tuple[str, str]:
        app = Demo()
        async with app.run_test(size=(20, 3)) as pilot:
            entry = app.query_one(TextInput)
            narrow = entry.render_line(0).text
            await pilot.resize_terminal(60, 3)
            await pilot.pause()
            return narrow, entry.render_line(0).text

    narrow, wide = asyncio.run(look())
    print(narrow, wide, sep="\n")
    assert narrow.rstrip().endswith("…") and wide.rstrip().endswith("start")
    print("=== 自测通过 ===")
