"""The searchable list of all keys, by group, with notes at the end.

One scroll view renders the lines that are visible: a widget for each word would take half a second
to open.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.cells import cell_len, set_cell_size
from textual import events
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual

from lmm_tui.cockpit.keys import Key
from lmm_tui.cockpit.widgets.styled_line import Part
from lmm_tui.i18n.language import tr
from lmm_tui.terminal.safe_text import wrap

_KEY, _NAME = 14, 22
_GAP, _TWO_COLUMNS = 3, 130
"""Cells between two columns, and from how many on there are two."""


class _Line:
    """Parts of a line, and its key; on a wide screen also those of the right column."""

    def __init__(self, *parts: Part, key: Key | None = None) -> None:
        self.parts, self.key = parts, key
        self.right: _Line | None = None

    @property
    def whole(self) -> tuple[Part, ...]:
        return (*self.parts, *(self.right.parts if self.right else ()))

    def padded(self, width: int) -> _Line:
        used = sum(cell_len(text) for text, _ in self.parts)
        return _Line(*self.parts, (" " * (width - used), ""), key=self.key)


class KeyList(ScrollView, can_focus=True):
    """Keys and what they do, in two columns if there is room; then `notes`.

    `toggle_names` adds the ids for `keys.toml`.
    """

    DEFAULT_CSS = """
    KeyList { height: auto; background: transparent; scrollbar-size: 0 1; }
    """

    @dataclass
    class Clicked(Message):
        """A line was clicked."""

        key: Key

    def __init__(
        self,
        groups: Sequence[tuple[str, Sequence[Key]]],
        notes: Sequence[tuple[str, str]],
        id: str | None = None,
    ) -> None:
        """Titles of groups and help are translated here, notes by the caller."""
        super().__init__(id=id)
        self._groups, self._notes = groups, notes
        self._words: list[str] = []
        self._named = False
        self._lines: list[_Line] = []
        self._lines_of: object = None

    def search(self, text: str) -> None:
        """Show only keys with all these words in any of their columns."""
        self._words = text.casefold().split()
        self._measure(self._room)
        self.scroll_home(animate=False)
        self.refresh(layout=True)

    def toggle_names(self) -> None:
        """Show the ids of keys, or no longer."""
        self._named = not self._named
        self._measure(self._room)
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        self._measure(width - 1)
        return self.virtual_size.height

    @property
    def _room(self) -> int:
        """Cells beside the scroll bar."""
        return max(self.size.width - 1, 1)

    def on_resize(self) -> None:
        self._measure(self._room)

    def _measure(self, width: int) -> None:
        self.virtual_size = Size(width, len(self._lines_at(width)))

    def render_line(self, y: int) -> Strip:
        width = self._room
        lines, at = self._lines_at(width), y + round(self.scroll_offset.y)
        line = Content.assemble(*lines[at].whole) if at < len(lines) else Content()
        return Visual.to_strips(self, line, width, 1, self.visual_style, pad=True)[0]

    def on_click(self, event: events.Click) -> None:
        lines, at = self._lines_at(self._room), event.y + round(self.scroll_offset.y)
        if at >= len(lines):
            return
        right = lines[at].right
        in_right = right is not None and event.x >= (self._room + _GAP) // 2
        if key := (right if right is not None and in_right else lines[at]).key:
            self.post_message(self.Clicked(key))

    def _lines_at(self, width: int) -> list[_Line]:
        inputs = width, tuple(self._words), self._named
        if inputs != self._lines_of:
            self._lines_of, self._lines = inputs, self._columns(width)
        return self._lines

    def _columns(self, width: int) -> list[_Line]:
        """All lines, in two columns if they fit side by side; a group is not broken."""
        if width < _TWO_COLUMNS:
            return list(self._key_lines(width))[1:]
        column = (width - _GAP) // 2
        lines = list(self._key_lines(column))[1:]
        starts = [at + 1 for at, line in enumerate(lines) if not line.parts]
        half = min(starts, key=lambda at: abs(at - len(lines) / 2), default=len(lines))
        left = [line.padded(column + _GAP) for line in lines[:half]]
        right = lines[half:]
        left += [_Line().padded(column + _GAP) for _ in range(len(right) - len(left))]
        for line, beside in zip(left, right, strict=False):
            line.right = beside
        return left

    def _key_lines(self, width: int) -> Iterator[_Line]:
        named = self._named
        meaning = width - _KEY - (_NAME if named else 0)
        for title, keys in self._groups:
            found = [key for key in keys if _matches(key, self._words)]
            if found:
                yield from (_Line(), _Line((tr(title), "bold")))
            for key in found:
                names = _wrap(key.id, _NAME) if named else []
                columns = _wrap(key.key_display, _KEY), _wrap(tr(key.help), meaning), names
                for shown, text, name in zip_longest(*columns, fillvalue=""):
                    yield _Line(
                        (set_cell_size(shown, _KEY), "$accent"),
                        (set_cell_size(text, meaning), ""),
                        (name, "$foreground 50%"),
                        key=key,
                    )
        for title, text in self._notes:
            yield from (_Line(), _Line((title, "bold")))
            for line in text.splitlines():
                yield from (_Line((part, "")) for part in _wrap(line, width))


def _matches(key: Key, words: Sequence[str]) -> bool:
    english = (key.title, key.help)
    text = " ".join((key.key_display, *english, *map(tr, english), key.id)).casefold()
    return all(word in text for word in words)


def _wrap(text: str, width: int) -> list[str]:
    return [text] if cell_len(text) <= width else wrap(text, max(width, 1))


if __name__ == "__main__":
    from lmm_tui.cockpit.keys import help_groups

    keys = KeyList(list(help_groups()), [("Notes", "word " * 30)])
    keys._words = ["pause"]
    for line in keys._lines_at(90):
        print("".join(text for text, _ in line.parts))
    keys._words = []
    assert len(keys._lines_at(150)) < len(keys._lines_at(90))
    print("=== 自测通过 ===")
