"""Base of widgets of one line of styled text, repainted only if the text changes.

Subclasses compose the line for a width.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget

Part = tuple[str, str]
"""Text and its style; the style may name theme colours, such as `bold $accent`."""


class StyledLine(Widget):
    """A widget of one row with the text of `compose_line`."""

    DEFAULT_CSS = """
    StyledLine { height: 1; width: 1fr; }
    """

    _shown: Content = Content()

    def compose_line(self, width: int) -> Content:
        """The text for this width."""
        raise NotImplementedError

    def reword(self) -> None:
        """Compose the line again; it is repainted only if it differs."""
        line = self.compose_line(self.size.width)
        if not line.is_same(self._shown):
            self._shown = line
            self.refresh()

    def on_resize(self) -> None:
        self.reword()

    def render(self) -> Content:
        return self._shown


def spread(width: int, left: Sequence[Part], right: Sequence[Part] = ()) -> Content:
    """`left` and `right` at the ends of a line.

    On a short line parts of `left` are left out, the last first, but never the first one.
    """
    ending = Content.assemble(*right)
    kept = list(left)
    beginning = Content.assemble(*kept)
    while len(kept) > 1 and beginning.cell_length + ending.cell_length > width:
        kept.pop()
        beginning = Content.assemble(*kept)
    gap = max(width - beginning.cell_length - ending.cell_length, 0)
    return Content.assemble(beginning, " " * gap, ending)


if __name__ == "__main__":
    for columns in (30, 20):
        line = spread(
            columns, [("name", "bold"), (" · stage", ""), (" · device", "")], [("9 %", "")]
        )
        print(f"|{line}|")
        assert line.cell_length == columns
    print("=== 自测通过 ===")
