"""A dialog that lists values to choose from; typing narrows the list.

With `several` space marks values, and enter takes all that are marked. With `typed` what was typed
is a value, too. It is dismissed with the values, or with None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from lmm_tui.cockpit import style_sheets
from lmm_tui.cockpit.screens.background_thread import run_in_background
from lmm_tui.cockpit.screens.dialogs import pressed
from lmm_tui.i18n.language import tr
from lmm_tui.planning.candidates import Candidate
from lmm_tui.terminal.safe_text import clean, fit

_WIDEST = 56


@dataclass
class CandidatesFound(Message):
    """A thread has looked for values."""

    candidates: list[Candidate]


class PickDialog(ModalScreen[list[str] | None]):
    """`find` is called in a thread; `chosen` are marked at first.

    `judge` says why a value cannot be taken, in a sentence, or nothing.
    """

    CSS_PATH = style_sheets.SCREENS
    AUTO_FOCUS = "#values"
    DEFAULT_CSS = """
    PickDialog { align: center middle; }
    PickDialog > Vertical {
        width: 90%; max-width: 110; height: auto; max-height: 80%; padding: 0 1;
        border: round $accent; background: $surface;
    }
    PickDialog OptionList {
        height: auto; max-height: 24; border: none; padding: 0; background: $surface;
        scrollbar-size-vertical: 1;
    }
    PickDialog OptionList > .option-list--option-highlighted {
        background: $panel; color: $accent; text-style: bold;
    }
    PickDialog #none { color: $foreground 60%; }
    PickDialog #none.-refused { color: $text-error; }
    """

    def __init__(
        self,
        title: str,
        find: Callable[[], list[Candidate]],
        *,
        several: bool = False,
        chosen: Sequence[str] = (),
        typed: bool = False,
        judge: Callable[[str], str] = lambda _: "",
    ) -> None:
        super().__init__()
        self._typed = typed
        self._judge = judge
        self._title = title
        self._find = find
        self._several = several
        self._chosen = list(chosen) if several else []
        self._all: list[Candidate] = []
        self._shown: list[Candidate] = []

    def compose(self) -> ComposeResult:
        with Vertical() as panel:
            panel.border_title = clean(self._title)
            keys = [pressed(tr("enter takes"), "take"), pressed(tr("esc cancels"), "stay")]
            if self._several:
                keys.insert(0, tr("space marks"))
            panel.border_subtitle = " · ".join(keys)
            words = Input(placeholder=tr("type to narrow the list"), compact=True, id="words")
            words.can_focus = False
            yield words
            yield OptionList(id="values", compact=True)
            yield Static(tr("Looking …"), id="none")

    def on_mount(self) -> None:
        run_in_background(self, "candidates", lambda: CandidatesFound(self._find()))

    def on_candidates_found(self, message: CandidatesFound) -> None:
        known = {one.value for one in message.candidates}
        own = [Candidate(value, tr("as typed")) for value in self._chosen if value not in known]
        # What is marked stands first: it is what enter would take.
        self._all = own + sorted(message.candidates, key=lambda one: one.value not in self._chosen)
        self._narrow()

    @on(Input.Changed)
    def _narrow(self) -> None:
        given = self.query_one("#words", Input).value
        words = given.casefold().split()
        self._shown = [
            one
            for one in self._all
            if all(word in f"{one.value} {one.about}".casefold() for word in words)
        ]
        if self._typed and given.strip():
            self._shown.append(Candidate(given.strip(), tr("as typed")))
        self._list()
        nothing = self.query_one("#none", Static)
        nothing.remove_class("-refused")
        nothing.display = not self._shown
        nothing.update(
            tr("Nothing found near here: type it.")
            if self._typed
            else tr("Nothing found near here: type it into the field.")
        )

    def _list(self) -> None:
        values = self.query_one("#values", OptionList)
        at = values.highlighted or 0
        width = min(max((cell_len(one.value) for one in self._shown), default=0), _WIDEST)
        values.set_options([Option(self._line(one, width)) for one in self._shown])
        if self._shown:
            values.highlighted = min(at, len(self._shown) - 1)

    def _line(self, one: Candidate, width: int) -> Content:
        sign = ("[x] " if one.value in self._chosen else "[ ] ") if self._several else ""
        return Content.assemble(
            sign, fit(clean(one.value), width), "  ", (clean(one.about), "$foreground 60%")
        )

    def on_key(self, event: events.Key) -> None:
        """Letters narrow the list, which keeps the focus."""
        words = self.query_one("#words", Input)
        if event.key == "escape":
            self.action_stay()
        elif event.key == "space" and self._several:
            self._mark()
        elif event.key == "backspace":
            words.value = words.value[:-1]
        elif event.is_printable and event.character:
            words.value += event.character
        else:
            return
        event.stop()

    def _mark(self) -> None:
        at = self.query_one("#values", OptionList).highlighted
        if at is not None and at < len(self._shown):
            value = self._shown[at].value
            if value in self._chosen:
                self._chosen.remove(value)
            else:
                self._chosen.append(value)
            self._list()

    @on(OptionList.OptionSelected)
    def action_take(self) -> None:
        """Take what is marked, or else what is under the cursor."""
        at = self.query_one("#values", OptionList).highlighted
        taken = self._chosen
        if not taken and at is not None and at < len(self._shown):
            taken = [self._shown[at].value]
        if refusal := next(filter(None, map(self._judge, taken)), ""):
            said = self.query_one("#none", Static)
            said.display = True
            said.add_class("-refused")
            said.update(Content(clean(refusal)))
        elif taken:
            self.dismiss(taken)

    def action_stay(self) -> None:
        self.dismiss(None)


if __name__ == "__main__":
    dialog = PickDialog("data", lambda: [Candidate("builtin", "6 MB")], several=True)
    print(dialog._line(Candidate("my.txt", "txt · 2 MB"), 10))
    print("=== 自测通过 ===")
