"""The form in which a run is configured, with an estimate of what it will cost beside it.

It opens before torch is imported; devices and data are looked at in threads. It starts nothing:
it is dismissed with a checked RunConfig, or with None.
"""

from __future__ import annotations

from collections.abc import Iterator

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.timer import Timer
from textual.widgets import Button, Input

from lmm_tui.cockpit import style_sheets
from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.messages import CONFIGURE
from lmm_tui.cockpit.screens.background_thread import run_in_background
from lmm_tui.cockpit.screens.base_screen import keep_told
from lmm_tui.cockpit.screens.configure_outlook import (
    DataSeen,
    DevicesFound,
    KnownFacts,
    StepsTried,
    find_devices,
    look_at_data,
    name_taken,
    same_data,
    same_step_time,
    try_steps,
)
from lmm_tui.cockpit.screens.form_tabs import TABS, keys_of, matters
from lmm_tui.cockpit.screens.memory_simulation import MemorySimulated, MemorySimulation
from lmm_tui.cockpit.screens.option_form import OptionForm
from lmm_tui.cockpit.screens.sweep_from_form import SweepFromForm, form_command, sweep_promise
from lmm_tui.cockpit.widgets.estimate_panel import CommandLine, EstimatePanel, Outlook, promise
from lmm_tui.cockpit.widgets.key_bar import FormKeys
from lmm_tui.cockpit.widgets.option_field import OptionField
from lmm_tui.cockpit.widgets.page_tabs import PageTabs
from lmm_tui.cockpit.widgets.run_header import RunHeader
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.options import Option, options
from lmm_tui.engine.config.resolve import with_changes
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.i18n.language import listed, tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.terminal.safe_text import clean

_DATA_KEYS = ("data.source", "data.more", "data.tokenizer")
WIDE, TALL, BESIDE = 140, 28, 61
"""Columns for the estimate beside the form, rows for air in it, columns that the former takes."""
TYPING_PAUSE_S = 0.25
"""Files are looked at once a person has stopped typing for this long."""
TRY_AFTER_S = 3.0
"""Once nothing was edited for this long, a few steps are tried."""
LOOK_AFTER_S, CHECKS_AFTER_S, DEVICES_AFTER_S = 0.05, 0.2, 0.5
"""After the first paint: imports hold the interpreter for moments."""


class ConfigureScreen(SweepFromForm):
    """Dismissed with a configuration that may be started, or with None where none was wanted."""

    CSS_PATH = style_sheets.FORM
    AUTO_FOCUS = "#model-preset > ChoiceRow"
    HORIZONTAL_BREAKPOINTS = [(WIDE, "-wide")]
    VERTICAL_BREAKPOINTS = [(TALL, "-tall")]
    BINDINGS = bindings("configure")

    def __init__(self, config: RunConfig, *, named_stage: str = "") -> None:
        """`named_stage`: that of the command line, whose code may run."""
        super().__init__(name=CONFIGURE)
        self._named_stage = named_stage
        self._given = config
        self._config = config
        self._known = KnownFacts()
        self._typing: Timer | None = None
        self._leaving = False
        self._start_wanted = False
        self._refused: tuple[OptionField, str] | None = None
        self._trying = False
        self._quiet: Timer | None = None
        self._simulation = MemorySimulation(self)

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
        return self.form.field(key)

    def compose(self) -> ComposeResult:
        # The breakpoints would say so later, when all is laid out, and all would be styled twice.
        wide = (columns := self.app.size.width) >= WIDE
        self.set_class(wide, "-wide")
        self.set_class(self.app.size.height >= TALL, "-tall")
        yield ScreenTabs("configure")
        yield RunHeader()
        yield PageTabs()
        with Vertical(id="body"):
            yield OptionForm(self._config, columns - BESIDE * wide, id="form")
            with Vertical(id="outlook"):
                yield EstimatePanel(compact=not wide)
                yield CommandLine(id="command")
        yield FormKeys()

    def on_mount(self) -> None:
        self.query_one("#outlook").border_title = tr("estimate")
        self._show_tabs()
        self._update()
        keep_told(self, self.query_one(RunHeader))
        self.call_after_refresh(self._look_around)

    def _look_around(self) -> None:
        self.set_timer(LOOK_AFTER_S, self._look_at_data)
        self.set_timer(CHECKS_AFTER_S, RunConfig)  # The first edit would wait for its validators.
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
            self._config = with_changes(self._config, field.changes)
        if field.option.key in ("stage", *_DATA_KEYS):
            self._look_soon()
        self.form.update_config(self._config)
        self._show_tabs()
        self._update()
        self._show_help()

    def explained(self) -> tuple[str, str]:
        return self.form.explained()

    @on(events.DescendantFocus)
    def _show_help(self) -> None:
        """Explain the focused field; a question or refusal that was shown before is dropped."""
        self._leaving = self._start_wanted = False
        field = self.form.focused_field
        if self._refused and self._refused[0] is field:
            self.form.warn(self._refused[1])
        else:
            self.form.explain(field)

    @on(Input.Submitted)
    def action_pick(self) -> None:
        """Choose the value of the focused field from a list; go on where there is none."""
        field = self.form.focused_field
        if field is None or not field.lists:
            self.focus_next()
            return
        from lmm_tui.cockpit.screens.pick_dialog import PickDialog
        from lmm_tui.planning.candidates import candidates, is_list_of_names

        key, config = field.option.key, self._config
        several = is_list_of_names(key)
        dialog = PickDialog(
            field.called,
            lambda: candidates(key, config),
            several=several,
            chosen=field.value if several else (),
        )

        def take(values: list[str] | None) -> None:
            if values is not None:
                field.show(values if several else values[0])

        self.app.push_screen(dialog, take)

    def options(self) -> Iterator[Option]:
        """Every option that matters in this stage."""
        return (option for option in options() if matters(option.key, self._config.stage))

    async def go_to_field(self, key: str, text: str = "") -> None:
        """Focus the field of an option, and fill it in if there is a text."""
        await self._open_tab(next(at for at, tab in enumerate(TABS) if key in keys_of(tab)))
        field = self.field(key)
        field.editor.focus()
        if text:
            field.show_text(text)

    def action_reset(self) -> None:
        """Put the focused field back to its default."""
        if field := self.form.focused_field:
            field.reset()

    @on(events.Click, "#command")
    def action_copy(self) -> None:
        """Put the command that starts this run on the clipboard."""
        command = form_command(self._config, self.form.axes)
        self.app.copy_to_clipboard(command)
        # Terminals may drop the sequence, and do not say so: the line can be copied by hand.
        sent = tr("Sent to the terminal's clipboard (OSC 52):")
        self.notify(f"{sent}\n{clean(command)}", timeout=8, markup=False)

    def fill_in(self, config: RunConfig) -> None:
        """Take over another configuration."""
        self._config = config
        self.form.show(config)
        self._look_soon()
        self._update()

    # Starting and leaving

    @on(Button.Pressed, "#start")
    async def action_start(self) -> None:
        """Dismiss with the configuration, or go to the first field that is wrong."""
        self._update()
        if wrong := self.form.wrong_fields:
            await self.form.open_tab_of(wrong[0])
            self._show_tabs()
            names = listed(field.called for field in wrong)
            why = tr("Fix the highlighted fields: {names}", names=names)
            self._refused = wrong[0], why
            wrong[0].editor.focus()
            self._show_help()
        elif self._known.data is None:
            self._start_wanted = True
            self.form.warn(tr("Looking at the data …"))
        elif axes := self.form.axes:
            self.ask_sweep(axes)
        else:
            self.dismiss(self._config)

    @on(Button.Pressed, "#leave")
    def action_leave(self) -> None:
        """Leave; where edits would be lost, only when it is asked for twice."""
        if self._leaving or (self._config == self._given and not self.form.wrong_fields):
            self.dismiss(None)
            return
        self._leaving = True
        self.form.warn(tr("Unsaved changes. Press esc again to discard."))

    # What follows from the values

    def _update(self) -> None:
        """Bring checks, estimate and command up to date with the configuration."""
        self.field("name").complain(name_taken(self._config))
        self.field("start_from").doubt(self._known.doubt_start(self._config))
        try:
            outlook = self._known.outlook(self._config)
            self.field("model.preset").complain("")
        except ConfigError as error:
            self.field("model.preset").complain(str(error))
            return
        panel = self.query_one(EstimatePanel)
        panel.outlook = outlook
        panel.set_class(bool(self.form.wrong_fields), "-stale")
        will = sweep_promise(self.form.axes) or promise(outlook)
        self.form.promise("" if self.form.wrong_fields else will)
        self._try_soon(outlook)
        self._simulate_soon()
        command = form_command(self._config, self.form.axes)
        self.query_one(CommandLine).say(f"$ {clean(command)}")

    def _look_soon(self) -> None:
        self._known.data = None
        if self._typing:
            self._typing.stop()
        self._typing = self.set_timer(TYPING_PAUSE_S, self._look_at_data)

    def _look_at_data(self) -> None:
        config = self._config

        run_in_background(self, "data", lambda: look_at_data(config))

    async def on_data_seen(self, event: DataSeen) -> None:
        if not same_data(event.config, self._config):
            return
        self._known.data, self._known.starts = event.facts, event.starts
        for key in ("data.source", "data.tokenizer"):
            self.field(key).complain(event.facts.problems.get(key, ""))
        self._update()
        if self._start_wanted:
            self._start_wanted = False
            await self.action_start()

    def _find_devices(self) -> None:
        run_in_background(self, "devices", lambda: find_devices(self._named_stage))

    async def on_devices_found(self, event: DevicesFound) -> None:
        self._known.devices = event.devices
        await self.form.add_own(event.own)
        self.field("device").set_choices(["auto", *(device.name for device in event.devices)])
        self._update()

    def action_data(self) -> None:
        """Show rows of the data as the model will see them."""
        # It draws with numpy, which the form opens without.
        from lmm_tui.cockpit.screens.data_screen import DataScreen

        self.app.push_screen(DataScreen(None, self._config))

    def _try_soon(self, outlook: Outlook) -> None:
        """Benchmark the settings once nothing was edited for a while, if that is quickly done."""
        if self._quiet is not None:
            self._quiet.stop()
        if self._known.measured_for is not None and same_step_time(
            self._known.measured_for, self._config
        ):
            return
        session = getattr(self.app, "session", None)
        beside_training = session is not None and session.view.active
        if (
            self._known.may_benchmark(outlook)
            and not self.form.wrong_fields
            and not beside_training
        ):
            self._quiet = self.set_timer(TRY_AFTER_S, self._benchmark)

    def _simulate_soon(self) -> None:
        """Simulate the memory of the settings once nothing was edited for a while."""
        self._simulation.cancel()
        known = self._known.simulated_for
        wanted = known is None or not same_step_time(known, self._config)
        if wanted and self._known.devices and not self.form.wrong_fields:
            self._simulation.soon(self._config)

    def on_memory_simulated(self, event: MemorySimulated) -> None:
        self._simulation.finished()
        if same_step_time(event.config, self._config):
            self._known.simulated(event.config, event.found)
        self._update()

    def action_try(self) -> None:
        """Measure in a worker process how long a step takes."""
        if self._benchmark():
            self.form.warn(tr("Benchmarking …"))

    def _benchmark(self) -> bool:
        """Start it, if none is running; the answer is a message."""
        if self._trying or not self.is_attached:
            return False
        config, self._trying = self._config, True
        run_in_background(
            self,
            "try",
            lambda: try_steps(config),
            refused=lambda why: StepsTried(config, None, why),
        )
        return True

    def on_steps_tried(self, event: StepsTried) -> None:
        self._trying = False
        if not same_step_time(event.config, self._config):
            self._update()
            return
        self._known.seconds_a_step = event.seconds_a_step
        self._known.measured_for = event.config
        if event.seconds_a_step is None:
            self.form.warn(tr("Benchmark failed: {why}", why=translate_message(event.error)))
        else:
            self._show_help()
            self._update()


if __name__ == "__main__":
    screen = ConfigureScreen(RunConfig())
    print(screen.config, screen.known, sep="\n")
    print("=== 自测通过 ===")
