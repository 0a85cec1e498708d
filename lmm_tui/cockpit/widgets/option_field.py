"""One option of the configuration as a row of a form: label, editor, unit, help.

Default, range, help and error sentence all come from its `Option`, label and unit from the form.
Problems that involve other options or files are found by the screen, which reports them with
`complain`, and doubts with `doubt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

from lmm_tui.cockpit.widgets.choice import ChoiceRow
from lmm_tui.cockpit.widgets.text_input import TextInput, VisibleText
from lmm_tui.engine.config.assignments import toml_value
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.options import Option, checked, lookup
from lmm_tui.engine.config.resolve import with_changes
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.validation_message import validation_message
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.translate_messages import translate_message, translate_range
from lmm_tui.planning.typed_values import epochs_in, plain_number, words_in, words_text
from lmm_tui.terminal.safe_text import clean, fit, wrap
from lmm_tui.toml_text import TomlError, parse_toml

if TYPE_CHECKING:
    from lmm_tui.sweeps.axes import Axis

UNSET = mark("unset")
CHANGED_MARK = "●"
HEADING_WIDTH = 9
LABEL_WIDTH = 31
"""Columns left of the editor, heading included; the style sheet below repeats it."""
NUMBER_WIDTH, TEXT_WIDTH = 18, 36
"""Columns of an editor that has something at its right."""
HELP_FROM = 94
"""Columns of a field from which on its help stands beside it."""
_LEAST_HELP = 16
LISTS = "▾"
"""Marks a field whose values can be chosen from a list."""

_DEFAULTS = RunConfig.defaults()


class OptionField(Widget):
    """Posts `Changed` after every edit; `value` is the last valid one."""

    DEFAULT_CSS = """
    OptionField { height: auto; padding: 0 1; }
    OptionField:focus-within { background: $boost; }
    OptionField > * { margin-left: 31; }
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
        label: str = "",
        unit: str = "",
        heading: str = "",
        choices: Sequence[str] = (),
        lists: bool = False,
    ) -> None:
        """`choices` are for an option that defines none itself; `lists`: it can be picked."""
        super().__init__(id=field_id(option.key))
        self._label = label or tr(option.label)
        self._unit = unit
        self.lists = lists
        self.option = option
        self.value = value
        self._error = ""
        self._complaint = ""
        self._doubt = ""
        self._heading = heading
        self._unset_label = ""
        self._editor = self._make_editor(choices or _choices(option))
        self._parsed_text = self.text
        self.changes: dict[str, Any] = {option.key: value}
        """What the last valid text sets: its own option, mostly."""
        self.axis: Axis | None = None
        """How a sweep varies the option: several values, or a range."""

    @property
    def editor(self) -> ChoiceRow | Input:
        """The widget that takes the focus."""
        return self._editor

    @property
    def text(self) -> str:
        """The text in the editor; of several marked choices all, with commas."""
        if isinstance(self._editor, ChoiceRow):
            return ", ".join(self._editor.chosen)
        return self._editor.value

    @property
    def problem(self) -> str:
        """What is wrong with the text and what is allowed; empty if it is valid."""
        return self._error or self._complaint

    @property
    def called(self) -> str:
        """The label in the language of the interface."""
        return self._label

    @property
    def changed(self) -> bool:
        return self.value != self.option.default

    def compose(self) -> ComposeResult:
        yield self._editor

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return 1 + len(self._message_lines(width))

    def on_resize(self) -> None:
        self._fit_editor()

    def _fit_editor(self) -> None:
        self.fit(self.size.width)

    def fit(self, width: int) -> None:
        """Leave room at the right of the editor for the unit, and for the help where it fits.

        Called with the width to come before it is mounted, it spares a second layout.
        """
        room = max(width - LABEL_WIDTH - 1, 1)
        wanted = min(self._editor_width(width), room)
        if self._editor.styles.width is None or self._editor.styles.width.value != wanted:
            self._editor.styles.width = wanted

    def _editor_width(self, width: int) -> int:
        if isinstance(self._editor, ChoiceRow):
            return self._editor.natural_width
        if self._unit:
            return NUMBER_WIDTH
        if self.option.kind in (int, float):
            # What applies where nothing is set may be said in a sentence.
            prompt = self._editor.prompt if isinstance(self._editor, TextInput) else ""
            return TEXT_WIDTH if cell_len(prompt) + 2 > NUMBER_WIDTH else NUMBER_WIDTH
        if width >= HELP_FROM:
            return TEXT_WIDTH
        return width - LABEL_WIDTH - (4 if self.lists else 2)

    def render(self) -> Content:
        """What stands around the editor, and below it what is wrong or doubtful."""
        sign = CHANGED_MARK if self.changed else " "
        colour = "$error" if self.problem else "$warning" if self._doubt else ""
        label = Content.assemble(
            (fit(self._heading, HEADING_WIDTH), "$foreground-muted"),
            (f"{sign} ", "$accent"),
            (fit(self.called, LABEL_WIDTH - HEADING_WIDTH - 2), colour),
        )
        indent = " " * (LABEL_WIDTH + 1)
        colour = "$error" if self.problem else "$warning"
        message = [
            Content.styled(indent + line, colour) for line in self._message_lines(self.size.width)
        ]
        return Content("\n").join([label + self._beside(), *message])

    def _beside(self) -> Content:
        """The unit and the help, at the right of the editor."""
        width = self.size.width - 1
        at = min(self._editor_width(self.size.width), max(width - LABEL_WIDTH, 1))
        gap = " " * (at + 1)
        unit = LISTS if self.lists else self._unit
        beside = Content.assemble((gap, ""), (unit, "$foreground 60%"))
        if width < HELP_FROM:
            return beside
        column = max(TEXT_WIDTH + 3, beside.cell_length + 1)
        room = width - LABEL_WIDTH - column
        if room < _LEAST_HELP:
            return beside
        pad = " " * (column - beside.cell_length)
        help_text = fit(tr(self.option.help), room).rstrip()
        return Content.assemble(beside, pad, (help_text, "$foreground 45%"))

    def _message_lines(self, width: int) -> list[str]:
        text = self._translated_problem() if self.problem else self._doubt
        if not text:
            return []
        return wrap(clean(text), max(width - LABEL_WIDTH - 1, 16))

    def _translated_problem(self) -> str:
        """The problem in the language of the interface, without the key that it may begin with."""
        key = self.option.key
        return translate_message(self.problem).removeprefix(key).lstrip(":： ")

    def complain(self, problem: str) -> None:
        """Show a problem with a valid value until the next edit; an empty text removes it."""
        if problem != self._complaint:
            self._complaint = problem
            self.refresh(layout=True)

    def doubt(self, warning: str) -> None:
        """Show a warning, which keeps nobody from starting; an empty text removes it."""
        if warning != self._doubt:
            self._doubt = warning
            self.refresh(layout=True)

    def show(self, value: Any) -> None:
        """Put another value into the editor, as if typed."""
        self.show_text(to_text(self.option, value))

    def show_text(self, text: str) -> None:
        if isinstance(self._editor, ChoiceRow):
            self._editor.show(text)
        else:
            self._editor.value = text

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
            self._fit_editor()  # A sentence wants more room than a number.
        elif self._unset_label != text:
            self._unset_label = text
            self._editor.refresh()
            self._fit_editor()

    @on(Input.Changed)
    @on(ChoiceRow.Changed)
    def _edited(self, event: Message) -> None:
        event.stop()
        if self.text == self._parsed_text:  # An Input also reports its initial value.
            return
        self._parsed_text = self.text
        before = self.problem
        self.axis = None
        try:
            self.changes = self._parsed()
            self.value = self.changes.get(self.option.key, self.value)
            self._error = ""
        except LmmError as error:
            self._error = str(error)
        self._complaint = ""
        self.refresh(layout=bool(before) or bool(self.problem))
        self.post_message(self.Changed(self))

    def _parsed(self) -> dict[str, Any]:
        """What the text sets; a length in epochs is another option than one in steps."""
        if self.option.key == "train.steps" and (epochs := epochs_in(self.text)) is not None:
            return {self.option.key: self.option.default, "train.epochs": epochs}
        self.axis = self._axis()
        if self.axis is None:
            return {self.option.key: parse(self.option, self.text)}
        if not self.axis.choices:
            parse(self.option, _plain(self.axis.high))
            return {self.option.key: parse(self.option, _plain(self.axis.low))}
        values = [self._value_of(choice) for choice in self.axis.choices]
        return {self.option.key: values[0]}  # It stands for all in what is estimated.

    def _value_of(self, choice: str | int | float | bool) -> Any:
        return choice if isinstance(choice, bool) else parse(self.option, _plain(choice))

    def _axis(self) -> Axis | None:
        from lmm_tui.sweeps.axes import SweepError, axis_of, values_axis

        if not isinstance(self._editor, ChoiceRow):
            whole = self.option.kind in (int, float) and plain_number(self.text) != self.text
            return None if whole else axis_of(self.option, self.text)
        chosen = self._editor.chosen
        if len(chosen) == 1:
            return None
        if UNSET in chosen:
            raise SweepError("{key}: unset cannot be swept; unmark it", key=self.option.key)
        return values_axis(self.option.key, [parse(self.option, choice) for choice in chosen])

    def _choice_label(self, choice: str) -> str:
        if choice == UNSET and self._unset_label:
            return self._unset_label
        return tr(choice) if self.option.kind is bool else choice

    def _make_editor(self, choices: Sequence[str]) -> ChoiceRow | TextInput:
        text = to_text(self.option, self.value)
        if choices:
            return ChoiceRow(choices, text, label=self._choice_label)
        return TextInput(text, prompt=tr(UNSET), highlighter=VisibleText())


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
        plain = words_text(value)
        return toml_value(value) if plain is None else plain
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
    elif option.kind in (int, float):
        given = plain_number(text)
    try:
        if option.table is not None:
            return _of_own(option, given)
        return lookup(with_changes(_DEFAULTS, {option.key: given}), option.key)
    except ConfigError:
        if not option.allowed:
            raise
        allowed = translate_range(option.allowed)
        raise ConfigError(tr("needs a {allowed}", allowed=allowed)) from None


def _plain(number: object) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)


def _of_own(option: Option, given: Any) -> Any:
    try:
        return checked(option, given)
    except ValidationError as error:
        raise ConfigError(validation_message(error, None)) from None


def _list(text: str) -> list[Any]:
    """Words between commas, or a TOML list for items that have commas themselves."""
    if not text.lstrip().startswith("["):
        return words_in(text)
    try:
        found = parse_toml(f"value = {text}")["value"]
    except TomlError:
        found = None
    if not isinstance(found, list):
        raise ConfigError(tr('needs a list such as one, two or ["one", "two"]'))
    return found


def _choices(option: Option) -> Sequence[str]:
    if option.kind is bool:
        return ([UNSET] if option.optional else []) + ["no", "yes"]
    return option.choices


if __name__ == "__main__":
    from lmm_tui.engine.config.options import options

    for each in options():
        print(each.key, to_text(each, each.default))
        assert parse(each, to_text(each, each.default)) == each.default
    print("=== 自测通过 ===")
