"""Text in paragraphs, broken into lines where Chinese may be, which Textual breaks at spaces only.

A line of Chinese behind a space begins a line too late there, and may begin with a comma. It knows
styles, and not what is said.
"""

from __future__ import annotations

from typing import Any

from textual.content import Content
from textual.widgets import Static

from lmm_tui.terminal.safe_text import breaks


def wrapped(text: Content, width: int) -> list[Content]:
    """`text` in lines of at most `width` cells; a paragraph without Chinese as Textual has it."""
    lines: list[Content] = []
    for paragraph in text.split("\n", allow_blank=True):
        if paragraph.plain.isascii():
            lines += paragraph.wrap(width) or [Content()]
        else:
            parts = paragraph.divide([*breaks(paragraph.plain, width)])
            lines += (part.rstrip() for part in parts)
    return lines


class Prose(Static):
    """A Static whose text is broken into lines anew where it, or its width, has changed."""

    def __init__(self, text: Content = Content(), **more: Any) -> None:  # noqa: B008
        """`more` is what Static takes."""
        super().__init__(text, **more)
        self._text, self._width = text, 0

    def update(self, content: Any = "", *, layout: bool = True) -> None:
        self._text = content if isinstance(content, Content) else Content(content)
        self._lay(layout)

    def on_resize(self) -> None:
        if self.content_size.width != self._width:
            self._width = self.content_size.width
            self._lay()

    def _lay(self, layout: bool = True) -> None:
        shown = self._text
        if self._width and not shown.plain.isascii():
            shown = Content("\n").join(wrapped(shown, self._width))
        super().update(shown, layout=layout)


if __name__ == "__main__":
    import sys

    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    told = Content.assemble(("a fox: ", "bold"), "小兔子住在森林边上，每天去河边。\nthen it slept")
    lines = wrapped(told, 16)
    print(*lines, sep="\n")
    assert [line.plain for line in lines][:2] == ["a fox: 小兔子住", "在森林边上，每天"]
    assert lines[0].spans
    print("=== 自测通过 ===")
