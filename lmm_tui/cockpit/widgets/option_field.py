"""One option of the configuration as a row of a form.

Label, editor, default, range and error sentence all come from its `Option`. Problems that involve
other options or files are found by the screen, which reports them with `complain`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.highlighter import Highlighter
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

from lmm_tui.cockpit.widgets.choice import ChoiceRow
from lmm_tui.cockpit.widgets.text_input import TextInput
from lmm_tui.engine.config.assignments import toml_value
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.options import Option, lookup
from lmm_tui.engine.config.resolve import with_changes
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.translate_messages import translate_message, translate_range
from lmm_tui.terminal.safe_text import REPLACEMENT, clean, fit, wrap

UNSET = mark("unset")
CHANGED_MARK = "●"
HEADING_WIDTH = 9
LABEL_WIDTH = 28
"""Columns left of the editor, heading included; the style sheet below repeats it."""

_DEFAULTS = RunConfig()


class OptionField(Widget):
    """Posts `Changed` after every edit; `value` is the last valid one."""

    DEFAULT_CSS = """
    OptionField { height: auto; padding: 0 1; }
    OptionField:focus-within { background: $boost; }
    OptionField > * { margin-left: 28; }
    OptionField > Input.-textual-compact {
        height: 1; padding: 0 1; background: $surface; color: $foreground;
    }
    OptionField > Input.-textual-compact:focus { background: $surface-lighten-1; }
    """

    @dataclass
    class Changed(Message):
        """The text or choice was edited; `value` is up to date if `problem` is empty."""

        field: OptionField

        @property
        def control(self) -> OptionField:
            return self.field

    def __init__(
        self,
        option: Option,
        value: Any,
        *,
        heading: str = "",
        choices: Sequence[str] = (),
    ) -> None:
        """`choices` are for an option that defines none itself."""
        super().__init__(id=field_id(option.key))
        self.option = option
        self.value = value
        self._error = ""
        self._complaint = ""
        self._heading = heading
        self._editor = self._make_editor(choices or _choices(option))
        self._parsed_text = self.text

    @property
    def editor(self) -> ChoiceRow | Input:
        """The widget that takes the focus."""
        return self._editor

    @property
    def text(self) -> str:
        """The text in the editor."""
        return self._editor.value

    @property
    def problem(self) -> str:
        """What is wrong with the text and what is allowed; empty if it is valid."""
        return self._error or self._complaint

    @property
    def called(self) -> str:
        """The label in the language of the interface."""
        return tr(self.option.label, about=self.option.key.partition(".")[0])

    @property
    def changed(self) -> bool:
        return self.value != self.option.default

    def compose(self) -> ComposeResult:
        yield self._editor

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return 1 + len(self._message_lines(width))

    def render(self) -> Content:
        """The label at the left of the editor, and below both the problem."""
        sign = CHANGED_MARK if self.changed else " "
        label = Content.assemble(
            (fit(self._heading, HEADING_WIDTH), "$foreground-muted"),
            (f"{sign} ", "$accent"),
            (self.called, "$error" if self.problem else ""),
        )
        indent = " " * (LABEL_WIDTH + 1)
        message = [
            Content.styled(indent + line, "$error") for line in self._message_lines(self.size.width)
        ]
        return Content("\n").join([label, *message])

    def _message_lines(self, width: int) -> list[str]:
        if not self.problem:
            return []
        return wrap(clean(self._translated_problem()), max(width - LABEL_WIDTH - 1, 16))

    def _translated_problem(self) -> str:
        """The problem in the language of the interface, without the key that it may begin with."""
        key = self.option.key
        return translate_message(self.problem).removeprefix(key).lstrip(":： ")

    def complain(self, problem: str) -> None:
        """Show a problem with a valid value until the next edit; an empty text removes it."""
        if problem != self._complaint:
            self._complaint = problem
            self.refresh(layout=True)

    def show(self, value: Any) -> None:
        """Put another value into the editor, as if typed."""
        self._editor.value = to_text(self.option, value)

    def reset(self) -> None:
        """Restore the default."""
        self.show(self.option.default)

    def set_choices(self, choices: Sequence[str]) -> None:
        if isinstance(self._editor, ChoiceRow):
            self._editor.set_choices(choices)

    def show_unset(self, text: str) -> None:
        """Show the effective value of an unset option as its placeholder."""
        if isinstance(self._editor, TextInput):
            self._editor.prompt = text

    @on(Input.Changed)
    @on(ChoiceRow.Changed)
    def _edited(self, event: Message) -> None:
        event.stop()
        if self.text == self._parsed_text:  # An Input also reports its initial value.
            return
        self._parsed_text = self.text
        before = self.problem
        try:
            self.value = parse(self.option, self.text)
            self._error = ""
        except ConfigError as error:
            self._error = str(error)
        self._complaint = ""
        self.refresh(layout=bool(before) or bool(self.problem))
        self.post_message(self.Changed(self))

    def _make_editor(self, choices: Sequence[str]) -> ChoiceRow | TextInput:
        text = to_text(self.option, self.value)
        if choices:
            return ChoiceRow(choices, text, label=tr if self.option.kind is bool else str)
        return TextInput(text, prompt=tr(UNSET), highlighter=_VisibleText())


def field_id(key: str) -> str:
    """The widget id of an option's field."""
    return key.replace(".", "-")


def to_text(option: Option, value: Any) -> str:
    """A value as text for the editor; the inverse of `parse`."""
    if option.kind is bool:
        return {None: UNSET, False: mark("no"), True: mark("yes")}[value]
    if value is None:
        return ""
    if option.kind is list:
        return toml_value(value)
    return str(value)


def parse(option: Option, text: str) -> Any:
    """The value of a text. Raises ConfigError, which says what is allowed."""
    given: Any = text
    if option.kind is bool:
        given = {UNSET: None, "no": False, "yes": True}[text]
    elif option.optional and not text.strip():
        given = None
    elif option.kind is list:
        given = _list(text)
    try:
        return lookup(with_changes(_DEFAULTS, {option.key: given}), option.key)
    except ConfigError:
        if option.allowed:
            raise ConfigError(
                tr("needs a {allowed}", allowed=translate_range(option.allowed))
            ) from None
        raise


def _list(text: str) -> list[Any]:
    try:
        found = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        found = None
    if not isinstance(found, list):
        raise ConfigError(tr('needs a list such as ["one", "two"]'))
    return found


def _choices(option: Option) -> Sequence[str]:
    if option.kind is bool:
        return ([UNSET] if option.optional else []) + ["no", "yes"]
    return option.choices


class _VisibleText(Highlighter):
    """Replaces control characters, so that none is sent to the terminal."""

    def __call__(self, text: str | Text) -> Text:
        plain = text.plain if isinstance(text, Text) else text
        shown = "".join((clean(char) or REPLACEMENT)[0] for char in plain)
        return Text(shown, no_wrap=True, overflow="ignore", end="")

    def highlight(self, text: Text) -> None:
        """No colours: `__call__` does all."""


if __name__ == "__main__":
    from lmm_tui.engine.config.options import options

    for each in options():
        print(each.key, to_text(each, each.default))
        assert parse(each, to_text(each, each.default)) == each.default
    print("=== 自测通过 ===")
