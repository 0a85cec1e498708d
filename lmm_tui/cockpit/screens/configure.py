"""The form in which a run is configured, with an estimate of what it will cost beside it.

It opens before torch is imported; devices and data are looked at in threads. It starts nothing:
it is dismissed with a checked RunConfig, or with None.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Button, Input, Static

from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.messages import CONFIGURE
from lmm_tui.cockpit.screens.background_thread import run_in_background
from lmm_tui.cockpit.screens.configure_outlook import KnownFacts, same_data, same_step_time
from lmm_tui.cockpit.screens.data_screen import DataScreen
from lmm_tui.cockpit.screens.dialogs import AskDialog
from lmm_tui.cockpit.screens.form_tabs import TABS
from lmm_tui.cockpit.screens.option_form import OptionForm
from lmm_tui.cockpit.widgets.estimate_panel import EstimatePanel, run_name
from lmm_tui.cockpit.widgets.key_bar import FormKeys
from lmm_tui.cockpit.widgets.option_field import OptionField
from lmm_tui.cockpit.widgets.page_tabs import PageTabs
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.resolve import with_changes
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.i18n.language import listed, tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.planning.command_line import command_line
from lmm_tui.planning.data_summary import DataFacts, summarize_data
from lmm_tui.planning.settings_files import load_settings, save_settings, sources
from lmm_tui.planning.step_benchmark import seconds_a_step
from lmm_tui.terminal.safe_text import clean

if TYPE_CHECKING:
    from lmm_tui.engine.device import DeviceInfo

_DATA_KEYS = ("data.source", "data.more", "data.tokenizer")

WIDE = 140
TALL = 28
"""Columns for the estimate beside the form, rows for air between its sections."""
TYPING_PAUSE_S = 0.25
"""Files are looked at once a person has stopped typing for this long."""
DEVICES_AFTER_S = 0.5
"""Importing torch holds the interpreter for moments: the first paint goes first."""


@dataclass
class DevicesFound(Message):
    """A thread has imported torch and found these devices, the best one first."""

    devices: list[DeviceInfo]


@dataclass
class DataSeen(Message):
    """A thread has looked at the files that `config` names."""

    config: RunConfig
    facts: DataFacts


@dataclass
class StepsTried(Message):
    """A thread has measured how long a step of `config` takes, or could not."""

    config: RunConfig
    seconds_a_step: float | None
    error: str = ""


class ConfigureScreen(Screen[RunConfig | None]):
    """Dismissed with a configuration that may be started, or with None where none was wanted."""

    CSS_PATH = "../configure.tcss"
    AUTO_FOCUS = "#model-preset > ChoiceRow"
    HORIZONTAL_BREAKPOINTS = [(WIDE, "-wide")]
    VERTICAL_BREAKPOINTS = [(TALL, "-tall")]
    BINDINGS = bindings("configure")

    def __init__(self, config: RunConfig) -> None:
        super().__init__(name=CONFIGURE)
        self._given = config
        self._config = config
        self._known = KnownFacts()
        self._typing: Timer | None = None
        self._leaving = False
        self._start_wanted = False
        self._refused: tuple[OptionField, str] | None = None
        self._trying = False

    @property
    def config(self) -> RunConfig:
        """The values of the form; a wrong value is left at its last valid one."""
        return self._config

    @property
    def known(self) -> KnownFacts:
        """What threads have found out by now."""
        return self._known

    @property
    def form(self) -> OptionForm:
        return self.query_one(OptionForm)

    def field(self, key: str) -> OptionField:
        """The field of an option whose tab was opened before."""
        return self.form.field(key)

    def compose(self) -> ComposeResult:
        # The breakpoints would say so later, when all is laid out, and all would be styled twice.
        wide = self.app.size.width >= WIDE
        self.set_class(wide, "-wide")
        self.set_class(self.app.size.height >= TALL, "-tall")
        yield Static(
            Content.assemble(("lmm-tui", "bold $accent"), f"  {tr('new run')}"), id="title"
        )
        yield PageTabs()
        with Vertical(id="body"):
            yield OptionForm(self._config, id="form")
            with Vertical(id="outlook"):
                yield EstimatePanel(compact=not wide)
                yield Static(id="command")
        yield FormKeys()

    def on_mount(self) -> None:
        self.query_one("#outlook").border_title = tr("estimate")
        self._show_tabs()
        self._update()
        self.call_after_refresh(self._look_at_data)
        self.set_timer(DEVICES_AFTER_S, self._find_devices)

    def on_resize(self, event: events.Resize) -> None:
        self.query_one(EstimatePanel).compact = event.size.width < WIDE

    # Tabs

    async def action_next_tab(self) -> None:
        await self._open_tab(self.form.tab + 1)

    async def action_previous_tab(self) -> None:
        await self._open_tab(self.form.tab - 1)

    async def action_open_page(self, number: int) -> None:
        await self._open_tab(number - 1)

    async def _open_tab(self, index: int) -> None:
        await self.form.open_tab(index % len(TABS))
        self._show_tabs()
        self.form.focus_first()

    def _show_tabs(self) -> None:
        self.query_one(PageTabs).show(self.form.tab_titles(), self.form.tab)

    # Editing

    @on(OptionField.Changed)
    def _edited(self, event: OptionField.Changed) -> None:
        field = event.field
        self._refused = None
        if not field.problem:
            self._config = with_changes(self._config, {field.option.key: field.value})
        if field.option.key in ("stage", *_DATA_KEYS):
            self._look_soon()
        self.form.update_config(self._config)
        self._show_tabs()
        self._update()
        self._show_help()

    @on(events.DescendantFocus)
    def _focus_moved(self) -> None:
        self._show_help()

    def _show_help(self) -> None:
        """Explain the focused field; a question or refusal that was shown before is dropped."""
        self._leaving = self._start_wanted = False
        field = self.form.focused_field
        if self._refused and self._refused[0] is field:
            self.form.warn(self._refused[1])
        else:
            self.form.explain(field)

    def action_reset(self) -> None:
        """Put the focused field back to its default."""
        if field := self.form.focused_field:
            field.reset()

    def action_copy(self) -> None:
        """Put the command that starts this run on the clipboard."""
        command = command_line(self._config)
        self.app.copy_to_clipboard(command)
        # Terminals may drop the sequence, and do not say so: the line can be copied by hand.
        sent = tr("Sent to the terminal's clipboard (OSC 52):")
        self.notify(f"{sent}\n{clean(command)}", timeout=8, markup=False)

    @on(events.Click, "#command")
    def _command_clicked(self) -> None:
        self.action_copy()

    # Files of settings

    def action_load(self) -> None:
        """Ask where settings are, and fill in all of them."""
        loaded: list[RunConfig] = []

        def judge(source: str) -> str:
            try:
                loaded.append(load_settings(source, self._config.runs_dir))
            except ConfigError as error:
                return str(error)
            return ""

        question = tr("From {sources}:", sources=sources())
        dialog = AskDialog(tr("load settings"), question, judge=judge)
        self.app.push_screen(dialog, lambda source: self._fill_in(loaded[-1]) if source else None)

    def _fill_in(self, config: RunConfig) -> None:
        self._config = config
        self.form.show(config)
        self._look_soon()
        self._update()

    def action_save(self) -> None:
        """Ask for the name of a new file, and write the settings there."""

        def judge(target: str) -> str:
            try:
                written = save_settings(target, self._config)
                self.notify(tr("written to {file}", file=written), markup=False)
            except ConfigError as error:
                return str(error)
            return ""

        name = self._config.name or f"{self._config.stage}-{self._config.model.preset}"
        dialog = AskDialog(tr("save settings"), tr("To a new file:"), f"{name}.toml", judge)
        self.app.push_screen(dialog)

    # Starting and leaving

    @on(Input.Submitted)
    @on(Button.Pressed, "#start")
    async def action_start(self) -> None:
        """Dismiss with the configuration, or go to the first field that is wrong."""
        self._update()
        if wrong := self.form.wrong_fields:
            await self.form.open_tab_of(wrong[0])
            self._show_tabs()
            names = listed(field.called for field in wrong)
            why = tr("Not started; put right what is marked: {names}", names=names)
            self._refused = wrong[0], why
            wrong[0].editor.focus()
            self._show_help()
        elif self._known.data is None:
            self._start_wanted = True
            self.form.warn(tr("Looking at the data …"))
        else:
            self.dismiss(self._config)

    @on(Button.Pressed, "#leave")
    def action_leave(self) -> None:
        """Leave; where edits would be lost, only when it is asked for twice."""
        if self._leaving or (self._config == self._given and not self.form.wrong_fields):
            self.dismiss(None)
            return
        self._leaving = True
        self.form.warn(tr("What you changed would be lost: leave once more to leave, edit to stay"))

    # What follows from the values

    def _update(self) -> None:
        """Bring checks, estimate and command up to date with the configuration."""
        self.field("name").complain(_name_taken(self._config))
        self.field("name").show_unset(run_name(self._config))
        try:
            outlook = self._known.outlook(self._config)
            peak = tr("{lr:.2g} for this model", lr=self._config.peak_lr)
            self.field("optim.lr").show_unset(peak)
            self.field("model.preset").complain("")
        except ConfigError as error:
            self.field("model.preset").complain(str(error))
            return
        self.query_one(EstimatePanel).outlook = outlook
        self.query_one("#command", Static).update(f"$ {clean(command_line(self._config))}")

    def _look_soon(self) -> None:
        self._known.data = None
        if self._typing:
            self._typing.stop()
        self._typing = self.set_timer(TYPING_PAUSE_S, self._look_at_data)

    def _look_at_data(self) -> None:
        config = self._config
        run_in_background(self, "data", lambda: DataSeen(config, summarize_data(config)))

    async def on_data_seen(self, event: DataSeen) -> None:
        if not same_data(event.config, self._config):
            return
        self._known.data = event.facts
        for key in ("data.source", "data.tokenizer"):
            self.field(key).complain(event.facts.problems.get(key, ""))
        self._update()
        if self._start_wanted:
            self._start_wanted = False
            await self.action_start()

    def _find_devices(self) -> None:
        def find() -> DevicesFound:
            from lmm_tui.engine.device import describe_devices

            return DevicesFound(describe_devices())

        run_in_background(self, "devices", find)

    def on_devices_found(self, event: DevicesFound) -> None:
        self._known.devices = event.devices
        self.field("device").set_choices(["auto", *(device.name for device in event.devices)])
        self._update()

    def action_data(self) -> None:
        """Show rows of the data as the model will see them."""
        self.app.push_screen(DataScreen(None, self._config))

    def action_try(self) -> None:
        """Measure in a worker process how long a step takes."""
        if self._trying:
            return
        config, self._trying = self._config, True
        self.form.warn(tr("Trying a few steps …"))
        run_in_background(
            self,
            "try",
            lambda: StepsTried(config, seconds_a_step(config)),
            refused=lambda why: StepsTried(config, None, why),
        )

    def on_steps_tried(self, event: StepsTried) -> None:
        self._trying = False
        if not same_step_time(event.config, self._config):
            self.form.warn(tr("The settings have changed: what was tried counts no more"))
        elif event.seconds_a_step is None:
            self.form.warn(tr("Not tried: {why}", why=translate_message(event.error)))
        else:
            self._known.seconds_a_step = event.seconds_a_step
            self._known.measured_for = event.config
            self._show_help()
            self._update()


def _name_taken(config: RunConfig) -> str:
    if config.name is None or not RunDir(Path(config.runs_dir) / config.name).exists():
        return ""
    return tr(
        "{folder} holds a run of this name; choose another, or leave it empty",
        folder=config.runs_dir,
    )


if __name__ == "__main__":
    screen = ConfigureScreen(RunConfig())
    print(command_line(screen.config), screen.known, sep="\n")
    print("=== 自测通过 ===")
