"""A row of choices of which one is taken, on a single line; a fraction of the cost of a Select.

It shows as many choices as fit and slides with the taken one. It knows strings, not what they mean.
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


class ChoiceRow(Widget, can_focus=True):
    """Left and right or a click take a neighbour; posts `Changed` when the value changes."""

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
        Binding("left", "move(-1)", "previous", show=False, id="choice.previous"),
        Binding("right,space", "move(1)", "next", show=False, id="choice.next"),
        Binding("home", "take(0)", "first", show=False, id="choice.first"),
        Binding("end", "take(-1)", "last", show=False, id="choice.last"),
    ]

    value: reactive[str] = reactive("", init=False)

    @dataclass
    class Changed(Message):
        """Another choice was taken."""

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
        said: Callable[[str], str] = str,
        id: str | None = None,
    ) -> None:
        """`said` is how a choice is shown."""
        super().__init__(id=id)
        self._said = said
        self._choices: tuple[str, ...] = ()
        self.set_reactive(ChoiceRow.value, value)
        self.set_choices(choices)

    @property
    def choices(self) -> tuple[str, ...]:
        return self._choices

    def set_choices(self, choices: Sequence[str]) -> None:
        """Offer other choices; the present value stays, and is added where it is not among them."""
        self._choices = tuple(dict.fromkeys([*choices, self.value]))
        self.refresh()

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

    def _pieces(self) -> list[tuple[str, str | None]]:
        """What is shown from left to right: a text, and the choice that it stands for."""
        room = self.size.width
        airy = [(f" {clean(self._said(name))} ", name) for name in self._choices]
        if _width(airy) <= room:
            return list(airy)
        dense: list[tuple[str, str | None]] = []
        for name in self._choices:
            dense += [(" ", None), (clean(self._said(name)), name)]
        if _width(dense) <= room:
            return dense
        return self._slid(dense, room)

    def _slid(
        self, pieces: list[tuple[str, str | None]], room: int
    ) -> list[tuple[str, str | None]]:
        """As many pieces as fit, from the first one on or so far right that the taken one shows."""
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
    import asyncio

    from textual.app import App, ComposeResult

    class Demo(App[None]):
        def compose(self) -> ComposeResult:
            yield ChoiceRow(["cosine", "wsd", "minimind", "constant"], "wsd")

    async def steer() -> None:
        app = Demo()
        async with app.run_test(size=(24, 3)) as pilot:
            choice = app.query_one(ChoiceRow)
            await pilot.press("right", "right", "right")
            print(choice.value, "|", choice.render().plain)
            assert choice.value == "constant"
            await pilot.press("home")
            assert choice.value == "cosine"

    asyncio.run(steer())
    print("=== 自测通过 ===")
