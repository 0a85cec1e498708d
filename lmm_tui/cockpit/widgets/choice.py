"""A selection widget on a single line; much cheaper than a Textual `Select`.

It shows as many choices as fit and scrolls so that the selected one is visible. Several can be
marked: `chosen` has them all then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from lmm_tui.terminal.safe_text import clean

MORE = "…"
MARKED = "✓"


class ChoiceRow(Widget, can_focus=True):
    """Left and right select a neighbour, a click any choice; posts `Changed`."""

    DEFAULT_CSS = """
    ChoiceRow { height: 1; width: 1fr; }
    ChoiceRow > .choice--other { color: $foreground-muted; }
    ChoiceRow > .choice--taken { color: $accent; text-style: bold; }
    ChoiceRow:focus > .choice--taken {
        color: $block-cursor-foreground; background: $accent; text-style: bold;
    }
    """
    COMPONENT_CLASSES = {"choice--other", "choice--taken"}
    BINDINGS = [
        Binding("left,h", "move(-1)", "previous", show=False, id="choice.previous"),
        Binding("right,l", "move(1)", "next", show=False, id="choice.next"),
        Binding("home", "take(0)", "first", show=False, id="choice.first"),
        Binding("end", "take(-1)", "last", show=False, id="choice.last"),
    ]

    value: reactive[str] = reactive("", init=False)

    @dataclass
    class Changed(Message):
        """Another choice was selected, or one was marked."""

        choice: ChoiceRow
        value: str

        @property
        def control(self) -> ChoiceRow:
            return self.choice

    def __init__(
        self,
        choices: Sequence[str],
        value: str,
        *,
        label: Callable[[str], str] = str,
        id: str | None = None,
    ) -> None:
        """`label` returns the text that is shown for a choice."""
        super().__init__(id=id)
        self._label = label
        self._choices: tuple[str, ...] = ()
        self._marked: set[str] = set()
        self.set_reactive(ChoiceRow.value, value)
        self.set_choices(choices)

    @property
    def choices(self) -> tuple[str, ...]:
        return self._choices

    @property
    def chosen(self) -> tuple[str, ...]:
        """The marked choices where there are two or more, else the selected one."""
        marked = tuple(name for name in self._choices if name in self._marked)
        return marked if len(marked) > 1 else (self.value,)

    @property
    def natural_width(self) -> int:
        """Cells in which all choices are shown."""
        return _width([(f" {self._text(name)} ", name) for name in self._choices])

    def set_choices(self, choices: Sequence[str]) -> None:
        """Offer other choices; the value is kept, and added if it is not among them."""
        self._choices = tuple(dict.fromkeys([*choices, self.value]))
        self.refresh()

    def toggle_mark(self) -> None:
        """Mark the selected choice, or take its mark away."""
        self._marked ^= {self.value}
        self.refresh()
        self.post_message(self.Changed(self, self.value))

    def show(self, value: str) -> None:
        """Select this choice alone."""
        marked, self._marked = self._marked, set()
        if marked and value == self.value:
            self.refresh()
            self.post_message(self.Changed(self, value))
        self.value = value

    def watch_value(self, value: str) -> None:
        self.set_choices(self._choices)
        self.post_message(self.Changed(self, value))

    def action_move(self, by: int) -> None:
        index = self._choices.index(self.value) + by
        self.value = self._choices[min(max(index, 0), len(self._choices) - 1)]

    def action_take(self, index: int) -> None:
        self.value = self._choices[index]

    def on_click(self, event: events.Click) -> None:
        column = 0
        for text, name in self._pieces():
            if name is not None and column <= event.x < column + cell_len(text):
                self.value = name
            column += cell_len(text)

    def render(self) -> Content:
        taken = self.get_visual_style("choice--taken")
        other = self.get_visual_style("choice--other")
        return Content("").join(
            Content.styled(text, taken if name == self.value else other)
            for text, name in self._pieces()
        )

    def _text(self, name: str) -> str:
        return (MARKED if name in self._marked else "") + clean(self._label(name))

    def _pieces(self) -> list[tuple[str, str | None]]:
        """The texts from left to right, each with its choice (None: a gap)."""
        room = self.size.width
        spaced = [(f" {self._text(name)} ", name) for name in self._choices]
        if _width(spaced) <= room:
            return list(spaced)
        dense: list[tuple[str, str | None]] = []
        for name in self._choices:
            dense += [(" ", None), (self._text(name), name)]
        if _width(dense) <= room:
            return dense
        return self._scrolled(dense, room)

    def _scrolled(
        self, pieces: list[tuple[str, str | None]], room: int
    ) -> list[tuple[str, str | None]]:
        """As many pieces as fit, from the first, or from further right to include the value."""
        more: tuple[str, str | None] = (MORE, None)
        room -= 2 * _width([more])
        last = [name for _, name in pieces].index(self.value) + 1
        first = 0
        while first < last - 1 and _width(pieces[first:last]) > room:
            first += 1
        while last < len(pieces) and _width(pieces[first : last + 1]) <= room:
            last += 1
        before = [more] if first else []
        after = [more] if last < len(pieces) else []
        return [*before, *pieces[first:last], *after]


def _width(pieces: Sequence[tuple[str, str | None]]) -> int:
    return sum(cell_len(text) for text, _ in pieces)


if __name__ == "__main__":
    row = ChoiceRow(["cosine", "wsd", "minimind", "constant"], "minimind")
    dense: list[tuple[str, str | None]] = [(f" {name}", name) for name in row.choices]
    print("".join(text for text, _ in row._scrolled(dense, 18)))
    print("=== 自测通过 ===")
