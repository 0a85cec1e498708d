"""Dialogs that ask for one of a few choices, or for a line of text; dismissed with the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from lmm_tui.cockpit import style_sheets
from lmm_tui.cockpit.widgets.prose import Prose
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.terminal.safe_text import clean


@dataclass(frozen=True)
class Choice:
    """One answer: the dialog returns `id`; `key` chooses it at once."""

    id: str
    key: str
    label: str


STAY = Choice("", "escape", mark("Cancel"))


class ChoiceDialog(ModalScreen[str]):
    """Returns the id of a choice, or `""` for leaving all as it is, which is focused at first."""

    CSS_PATH = style_sheets.SCREENS

    def __init__(
        self, title: str, text: str, choices: Sequence[Choice], *, code: str = "", first: str = ""
    ) -> None:
        """`code` is shown as a command line; the choice `first` is focused instead."""
        super().__init__()
        self._title = title
        self._text = text
        self._code = code
        self._choices = (*choices, STAY)
        self._first = first

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog") as dialog:
            dialog.border_title = self._title
            yield Prose(Content(clean(self._text, newlines="keep")), classes="question")
            if self._code:
                yield Static(Content(clean(self._code)), classes="code")
            for index, choice in enumerate(self._choices):
                key = "esc" if choice.key == "escape" else choice.key
                label = Content.assemble((f"{key:<4}", "bold"), clean(tr(choice.label)))
                yield Button(label, id=f"choice-{index}", compact=True)

    def on_mount(self) -> None:
        ids = [choice.id for choice in self._choices]
        self.query_one(f"#choice-{ids.index(self._first)}").focus()

    def on_key(self, event: events.Key) -> None:
        if event.key in ("up", "down"):
            event.stop()
            self.focus_previous() if event.key == "up" else self.focus_next()
        for choice in self._choices:
            if event.key == choice.key:
                event.stop()
                self.dismiss(choice.id)
                return

    @on(Button.Pressed)
    def choose(self, event: Button.Pressed) -> None:
        event.stop()
        index = int((event.button.id or "").removeprefix("choice-"))
        self.dismiss(self._choices[index].id)


class AskDialog(ModalScreen[str | None]):
    """Returns one line, or None; `judge` returns what is wrong with a line, or nothing."""

    CSS_PATH = style_sheets.SCREENS

    def __init__(
        self, title: str, text: str, value: str = "", judge: Callable[[str], str] | None = None
    ) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._value = value
        self._judge = judge

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog") as dialog:
            dialog.border_title = self._title
            dialog.border_subtitle = pressed("enter", "answer") + " · " + pressed("esc", "stay")
            yield Prose(Content(clean(self._text, newlines="keep")), classes="question")
            yield Input(clean(self._value), compact=True, select_on_focus=False, id="answer")
            yield Static("", id="refusal")

    @on(Input.Submitted)
    def action_answer(self) -> None:
        answer = self.query_one("#answer", Input).value
        refusal = self._judge(answer) if self._judge else ""
        if refusal:
            self.query_one("#refusal", Static).update(Content(clean(translate_message(refusal))))
        else:
            self.dismiss(answer)

    @on(Input.Changed)
    def _answer_changes(self) -> None:
        self.query_one("#refusal", Static).update("")

    def action_stay(self) -> None:
        self.dismiss(None)

    def on_key(self, event: events.Key) -> None:
        if event.key == "escape":
            event.stop()
            self.action_stay()


def pressed(key: str, action: str) -> str:
    """Markup of a key in the frame of a panel, which can be clicked."""
    return f"[@click=screen.{action}]{key}[/]"


if __name__ == "__main__":
    print(ChoiceDialog("delete", "Really?", [Choice("yes", "y", "Delete")])._choices)
    print(pressed("enter", "answer"))
    print("=== 自测通过 ===")
