"""Styled text with line breaks that are correct for Chinese.

Textual breaks lines at spaces only: Chinese after a space would start on a new line, and a line
could begin with a comma.
"""

from __future__ import annotations

from typing import Any

from textual.content import Content
from textual.widgets import Static

from lmm_tui.terminal.safe_text import breaks


def wrapped(text: Content, width: int) -> list[Content]:
    """`text` in lines of at most `width` cells; ASCII paragraphs are wrapped by Textual."""
    lines: list[Content] = []
    for paragraph in text.split("\n", allow_blank=True):
        if paragraph.plain.isascii():
            lines += paragraph.wrap(width) or [Content()]
        else:
            parts = paragraph.divide([*breaks(paragraph.plain, width)])
            lines += (part.rstrip() for part in parts)
    return lines


class Prose(Static):
    """A Static that wraps its text again when the text or the width changes."""

    def __init__(self, text: Content = Content(), **more: Any) -> None:  # noqa: B008
        """`more` are arguments of Static."""
        super().__init__(text, **more)
        self._text, self._width = text, 0

    def update(self, content: Any = "", *, layout: bool = True) -> None:
        self._text = content if isinstance(content, Content) else Content(content)
        self._lay_out(layout)

    def on_resize(self) -> None:
        if self.content_size.width != self._width:
            self._width = self.content_size.width
            self._lay_out()

    def _lay_out(self, layout: bool = True) -> None:
        shown = self._text
        if self._width and not shown.plain.isascii():
            shown = Content("\n").join(wrapped(shown, self._width))
        super().update(shown, layout=layout)


if __name__ == "__main__":
    text = Content.assemble(("a fox: ", "bold"), "小兔子住在森林边上，每天去河边。\nthen it slept")
    print(*wrapped(text, 16), sep="\n")
    print("=== 自测通过 ===")
