"""The form of the configure screen: a field per option on tabs, two buttons, and one explanation.

A tab is made when it is first opened, so that the form opens at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from lmm_tui.cockpit.keys import KEYS
from lmm_tui.cockpit.screens.form_defaults import effective_values
from lmm_tui.cockpit.screens.form_labels import label_of, unit_of
from lmm_tui.cockpit.screens.form_tabs import (
    ESSENTIALS,
    OF_THE_STAGE,
    TABS,
    keys_of,
    matters,
    section_of,
)
from lmm_tui.cockpit.widgets.form_button import FormButton
from lmm_tui.cockpit.widgets.option_field import (
    CHANGED_MARK,
    LISTS,
    UNSET,
    OptionField,
    field_id,
    to_text,
)
from lmm_tui.engine.config.options import Option, options_by_key, value_of
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.translate_messages import translate_range
from lmm_tui.planning.candidates import has_candidates
from lmm_tui.terminal.safe_text import fit

if TYPE_CHECKING:
    from lmm_tui.sweeps.axes import Axis

_HELP_KEY = next(key.key_display.split()[-1] for key in KEYS if key.id == "app.help")


class OptionForm(Vertical):
    """Shows a configuration; fields post `Changed`, buttons have the ids `start` and `leave`."""

    def __init__(self, config: RunConfig, columns: int, id: str | None = None) -> None:
        """`columns`: of a field, as far as that is known; another width takes a second layout."""
        super().__init__(id=id)
        self._config = config
        self._columns = columns
        self._open = 0
        self._own: tuple[Option, ...] = ()

    def compose(self) -> ComposeResult:
        yield Vertical(*self._fields(self._options_of(ESSENTIALS)), id=_tab_id(0), classes="tab")
        with Horizontal(id="buttons"):
            yield FormButton(tr("Start"), id="start")
            yield FormButton(tr("Cancel"), id="leave")
            yield Static(id="promise")
        yield Static(id="explanation")

    def on_mount(self) -> None:
        self.border_title = tr("configuration")
        self.border_subtitle = tr(
            "{mark} changed · {list} enter lists values", mark=CHANGED_MARK, list=LISTS
        )

    def _options_of(self, tab: str) -> list[Option]:
        known = options_by_key()
        own = self._own if tab == OF_THE_STAGE else ()
        return [*(known[key] for key in keys_of(tab)), *own]

    async def add_own(self, own: tuple[Option, ...]) -> None:
        """Show the options of a stage of somebody's own on the tab of the stage."""
        self._own = own
        made = self.query(f"#{_tab_id(TABS.index(OF_THE_STAGE))}")
        if own and made:
            await made.first().mount(*self._fields(own))

    def _fields(self, of: Sequence[Option]) -> Iterator[OptionField]:
        unset = effective_values(self._config)
        above = ""
        for option in of:
            key = option.key
            section = section_of(key) or "run"
            field = OptionField(
                option,
                value_of(self._config, option),
                label=label_of(option),
                unit=unit_of(option),
                heading="" if section == above else tr(section),
                choices=("auto", "cpu") if key == "device" else (),
                lists=has_candidates(key),
            )
            field.show_unset(unset.get(key, tr(UNSET)))
            field.fit(self._columns)
            field.set_class(section != above, "-heading")
            field.display = matters(key, self._config.stage)
            above = section
            yield field

    # Fields

    def field(self, key: str) -> OptionField:
        """The field of an option whose tab was opened before."""
        return self.query_one(f"#{field_id(key)}", OptionField)

    @property
    def focused_field(self) -> OptionField | None:
        focused = self.screen.focused
        return focused.parent if focused and isinstance(focused.parent, OptionField) else None

    @property
    def wrong_fields(self) -> list[OptionField]:
        return [field for field in self.query(OptionField) if field.problem and field.display]

    @property
    def axes(self) -> tuple[Axis, ...]:
        """What a sweep varies: the fields with several values or a range."""
        return tuple(
            field.axis for field in self.query(OptionField) if field.axis and field.display
        )

    def show(self, config: RunConfig) -> None:
        """Fill the fields from another configuration."""
        for field in self.query(OptionField):
            field.show(value_of(config, field.option))
        if config.train.epochs is not None:
            length = tr("{count} epochs", count=f"{config.train.epochs:g}")
            self.field("train.steps").show_text(length)
        self.update_config(config)

    def update_config(self, config: RunConfig) -> None:
        """Take over the values that the fields have now; another stage has other fields."""
        staged, self._config = config.stage != self._config.stage, config
        unset = effective_values(config)
        for field in self.query(OptionField):
            if field.option.key in unset:
                field.show_unset(unset[field.option.key])
        if staged:
            for field in self.query(OptionField):
                field.display = matters(field.option.key, config.stage)

    # Tabs

    @property
    def tab(self) -> int:
        """Which tab is open."""
        return self._open

    def tab_titles(self) -> tuple[str, ...]:
        """The titles of the tabs, marked where an option has another value than its default."""
        titles = []
        for tab in TABS:
            of = self._options_of(tab)
            changed = any(value_of(self._config, option) != option.default for option in of)
            titles.append(f"{tr(tab)} {CHANGED_MARK}" if changed else tr(tab))
        return tuple(titles)

    async def open_tab(self, index: int) -> None:
        if not self.query(f"#{_tab_id(index)}"):
            self._columns = max(field.size.width for field in self.query(OptionField))
            fields = self._fields(self._options_of(TABS[index]))
            made = Vertical(*fields, id=_tab_id(index), classes="tab")
            await self.mount(made, before="#buttons")
        self._open = index
        for tab in self.query(".tab"):
            tab.display = tab.id == _tab_id(index)

    async def open_tab_of(self, field: OptionField) -> None:
        of = (at for at, tab in enumerate(TABS) if field.option in self._options_of(tab))
        await self.open_tab(next(of))

    def focus_first(self) -> None:
        """Focus the first field of the open tab."""
        fields = self.query_one(f"#{_tab_id(self._open)}").query(OptionField)
        next(field for field in fields if field.display).editor.focus()

    def promise(self, text: str) -> None:
        """Say beside the buttons what will happen."""
        self.query_one("#promise", Static).update(Content(text), layout=False)

    # Explanation

    def explained(self) -> tuple[str, str]:
        """The label of the focused field and its whole help; empty where none is focused."""
        field = self.focused_field
        if field is None:
            return "", ""
        return field.called, f"{tr(field.option.help)}\n{_small_print(field.option)}"

    def explain(self, field: OptionField | None) -> None:
        """Show the help of an option, what fits of it."""
        shown = self.query_one("#explanation", Static)
        shown.remove_class("-warning")
        if field is None:
            shown.update("", layout=False)
            return
        text, small_print = tr(field.option.help), _small_print(field.option)
        width = shown.size.width or self.app.size.width
        if max(cell_len(text), cell_len(small_print)) > width:
            more = tr("{key} shows all", key=_HELP_KEY)
            text = f"{fit(text, width - cell_len(more) - 2)}  {more}"
        shown.update(
            Content.assemble(text, "\n", (fit(small_print, width).rstrip(), "$foreground 60%")),
            layout=False,
        )

    def warn(self, text: str) -> None:
        """Show a message in the place of the help."""
        shown = self.query_one("#explanation", Static)
        shown.add_class("-warning")
        shown.update(Content(text), layout=False)


def _tab_id(index: int) -> str:
    return f"tab-{index}"


def _small_print(option: Option) -> str:
    default = to_text(option, option.default) or UNSET
    if option.kind is bool or default == UNSET:
        default = tr(default)
    default = tr("default {value}", value=default)
    return " · ".join(filter(None, (translate_range(option.allowed), default, option.key)))


if __name__ == "__main__":
    print(*(_small_print(option) for option in options_by_key().values()), sep="\n")
    print("=== 自测通过 ===")
