"""A scrolling panel of text, the newest on top; laid out again only if the text changed.

Subclasses compose the text. Focused, it scrolls with the arrow keys; Enter zooms it.
"""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from lmm_tui.cockpit.widgets.prose import Prose


class Feed(VerticalScroll):
    """`title` and a count in the border; `empty` is shown while there is no text."""

    DEFAULT_CSS = """
    Feed { scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    Feed > Static { width: 1fr; padding: 0 1; }
    """

    def __init__(self, title: str, empty: str, id: str | None = None) -> None:
        super().__init__(id=id)
        self._title = title
        self._shown = Content(empty)
        self.border_title = title

    def compose(self) -> ComposeResult:
        yield Prose(self._shown)

    @property
    def text_width(self) -> int:
        """Cells of a line, without those of the scrollbar."""
        return max(self.scrollable_content_region.width - 2, 1)

    def expect(self, sentence: str) -> None:
        """Replace the sentence that is shown while there is no text."""
        if self.border_title == self._title and sentence != self._shown.plain:
            self._shown = Content(sentence)
            self.query_one(Prose).update(self._shown)

    def set_text(self, text: Content, count: str) -> None:
        """Show `text`, and `count` after the title; equal text is not laid out again."""
        if text.is_same(self._shown):
            return
        self._shown = text
        self.border_title = f"{self._title} · {count}"
        self.query_one(Prose).update(text)


if __name__ == "__main__":
    feed = Feed("events", "nothing happened yet")
    print(feed.border_title, feed._shown)
    print("=== 自测通过 ===")
