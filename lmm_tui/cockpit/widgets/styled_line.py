"""One line of styled text that is repainted only where it says something new.

It knows nothing of runs: subclasses word the line for the width they have.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget

Part = tuple[str, str]
"""Text and its style; the style may name theme colours, such as `bold $accent`."""


class StyledLine(Widget):
    """A widget of one row; `compose_line` says what stands there at a width."""

    DEFAULT_CSS = """
    StyledLine { height: 1; width: 1fr; }
    """

    _shown: Content = Content()

    def compose_line(self, width: int) -> Content:
        raise NotImplementedError

    def reword(self) -> None:
        """Word the line again; costs a comparison where nothing changed."""
        worded = self.compose_line(self.size.width)
        if not worded.is_same(self._shown):
            self._shown = worded
            self.refresh()

    def on_resize(self) -> None:
        self.reword()

    def render(self) -> Content:
        return self._shown


def spread(width: int, left: Sequence[Part], right: Sequence[Part] = ()) -> Content:
    """`left` and `right` at the ends of a line; parts of `left` go, the last first, where short.

    The first part of `left` and all of `right` are always kept.
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
    print(
        f"|{spread(30, [('name', 'bold'), (' · stage', ''), (' · device', '')], [('12 %', '')])}|"
    )
    print(
        f"|{spread(20, [('name', 'bold'), (' · stage', ''), (' · device', '')], [('12 %', '')])}|"
    )
    assert spread(20, [("name", ""), ("x" * 20, "")]).cell_length == 20
    print("=== 自测通过 ===")
