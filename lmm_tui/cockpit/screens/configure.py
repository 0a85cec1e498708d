"""Where a run is decided: a form over the configuration tree, and beside it what that comes to.

It opens before torch is there and looks for devices behind the person's back. It starts nothing:
it hands back a checked RunConfig, or None.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Button, Input, Static

from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.messages import CONFIGURE
from lmm_tui.cockpit.screens.dialogs import AskDialog
from lmm_tui.cockpit.screens.form_tabs import ESSENTIALS, TABS, keys_of, matters, section_of
from lmm_tui.cockpit.widgets.estimate_panel import EstimatePanel, Outlook, run_name
from lmm_tui.cockpit.widgets.key_bar import FormKeys
from lmm_tui.cockpit.widgets.option_field import CHANGED_MARK, UNSET, OptionField, field_id, to_text
from lmm_tui.cockpit.widgets.page_tabs import PageTabs
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.options import Option, lookup, options
from lmm_tui.engine.config.resolve import check
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import listed, tr
from lmm_tui.i18n.translate_messages import translate_message, translate_range
from lmm_tui.planning.command_line import command_line
from lmm_tui.planning.data_summary import DataFacts, summarize_data
from lmm_tui.planning.estimate import Estimate, estimate
from lmm_tui.planning.settings_files import load_settings, save_settings, sources
from lmm_tui.planning.step_benchmark import seconds_a_step
from lmm_tui.terminal.safe_text import clean

if TYPE_CHECKING:
    from lmm_tui.engine.device import DeviceInfo

_DATA_KEYS = ("data.source", "data.tokenizer")

WIDE = 140
TALL = 28
"""Columns for the estimate beside the form, rows for air between its sections."""
TYPING_PAUSE_S = 0.25
"""Files are looked at once a person has stopped typing for this long."""
DEVICES_AFTER_S = 0.5
"""Importing torch holds the interpreter for moments: the first paint goes first."""


@dataclass
class DevicesFound(Message):
    """A thread has imported torch and looked around; the best device comes first."""

    devices: list[DeviceInfo]


@dataclass
class DataSeen(Message):
    """A thread has looked at the files that `config` names."""

    config: RunConfig
    facts: DataFacts


@dataclass
class Tried(Message):
    """A thread knows how long a step of `config` takes, or why not."""

    config: RunConfig
    seconds_a_step: float | None
    problem: str = ""


class ConfigureScreen(Screen[RunConfig | None]):
    """Dismisses with a configuration that may be started, or with None to leave."""

    CSS_PATH = "../configure.tcss"
    AUTO_FOCUS = "#model-preset > Choice"
    HORIZONTAL_BREAKPOINTS = [(WIDE, "-wide")]
    VERTICAL_BREAKPOINTS = [(TALL, "-tall")]
    BINDINGS = bindings("configure")

    def __init__(self, config: RunConfig) -> None:
        super().__init__(name=CONFIGURE)
        self._given = config
        self._config = config
        self._devices: list[DeviceInfo] = []
        self._data: DataFacts | None = None
        self._typing: Timer | None = None
        self._leaving = False
        self._start_wanted = False
        self._refused: tuple[OptionField, str] | None = None
        self._tab = 0
        self._trying = False
        self._measured: Tried | None = None

    @property
    def config(self) -> RunConfig:
        """What the form says; a wrong value is left at its last right one."""
        return self._config

    @property
    def settled(self) -> bool:
        """Whether devices and data have been looked at."""
        return bool(self._devices) and self._data is not None

    def field(self, key: str) -> OptionField:
        """The field of an option whose tab was opened before."""
        return self.query_one(f"#{field_id(key)}", OptionField)

    # Layout

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
            with Vertical(id="form"):
                yield Vertical(*self._fields(ESSENTIALS), id=_tab_id(0), classes="tab")
                with Horizontal(id="buttons"):
                    yield Button(tr("Start"), id="start", variant="primary", compact=True)
                    yield Button(tr("Leave"), id="leave", compact=True)
                yield Static(id="explanation")
            with Vertical(id="outlook"):
                yield EstimatePanel(compact=not wide)
                yield Static(id="command")
        yield FormKeys()

    def _fields(self, tab: str) -> Iterator[OptionField]:
        known = {option.key: option for option in options()}
        above = ""
        for key in keys_of(tab):
            section = section_of(key) or "run"
            field = OptionField(
                known[key],
                lookup(self._config, key),
                heading="" if section == above else tr(section),
                choices=("auto", "cpu") if key == "device" else (),
            )
            field.set_class(section != above, "-heading")
            field.display = matters(key, self._config.stage)
            above = section
            yield field

    def on_mount(self) -> None:
        self.query_one("#form").border_title = tr("configuration")
        self.query_one("#outlook").border_title = tr("estimate")
        self.field("data.tokenizer").show_unset(tr("inherited, or trained here"))
        self.field("start_from").show_unset(tr("nothing: new weights"))
        self._show_tabs()
        self._update()
        self.call_after_refresh(self._look_at_data)
        self.set_timer(DEVICES_AFTER_S, self._find_devices)

    def on_resize(self, event: events.Resize) -> None:
        self.query_one(EstimatePanel).compact = event.size.width < WIDE

    # Tabs: each is made when it is opened first, so that the form opens at once

    async def action_next_tab(self) -> None:
        await self._open_tab((self._tab + 1) % len(TABS))

    async def action_previous_tab(self) -> None:
        await self._open_tab((self._tab - 1) % len(TABS))

    async def action_open_page(self, number: int) -> None:
        await self._open_tab(number - 1)

    async def _open_tab(self, index: int) -> None:
        await self._show_tab(index)
        fields = self.query(f"#{_tab_id(index)} ConfigField").results(OptionField)
        next(field for field in fields if field.display).editor.focus()

    async def _show_tab(self, index: int) -> None:
        if not self.query(f"#{_tab_id(index)}"):
            made = Vertical(*self._fields(TABS[index]), id=_tab_id(index), classes="tab")
            await self.query_one("#form").mount(made, before="#buttons")
        self._tab = index
        for tab in self.query(".tab"):
            tab.display = tab.id == _tab_id(index)
        self._show_tabs()

    def _show_tabs(self) -> None:
        """The names of the tabs, marked where something on them is not as usual."""
        usual = {option.key: option.default for option in options()}
        titles = []
        for tab in TABS:
            changed = any(lookup(self._config, key) != usual[key] for key in keys_of(tab))
            titles.append(f"{tr(tab)} {CHANGED_MARK}" if changed else tr(tab))
        self.query_one(PageTabs).show(tuple(titles), self._tab)

    # Editing

    @on(OptionField.Changed)
    def _edited(self, event: OptionField.Changed) -> None:
        field = event.field
        self._refused = None
        if not field.problem:
            self._config = check(field.option.key, field.value, self._config)
        if field.option.key in ("stage", *_DATA_KEYS):
            self._look_soon()
        if field.option.key == "stage":
            self._judge_stage()
        self._show_tabs()
        self._update()
        self._show_help()

    def _judge_stage(self) -> None:
        for field in self.query(OptionField):
            field.display = matters(field.option.key, self._config.stage)

    @on(events.DescendantFocus)
    def _focus_moved(self) -> None:
        self._show_help()

    def action_reset(self) -> None:
        """Put the focused field back to its default."""
        if field := self._focused_field():
            field.reset()

    def action_copy(self) -> None:
        """Put the command that starts this run on the clipboard."""
        self.app.copy_to_clipboard(command_line(self._config))
        self.notify(tr("The command is on the clipboard"), timeout=3)

    @on(events.Click, "#command")
    def _command_clicked(self) -> None:
        self.action_copy()

    # Settings from and to elsewhere

    def action_load(self) -> None:
        """Ask where settings are, and take them all."""
        loaded: list[RunConfig] = []

        def judge(source: str) -> str:
            try:
                loaded.append(load_settings(source, self._config.runs_dir))
            except ConfigError as error:
                return str(error)
            return ""

        question = tr("From {sources}:", sources=sources())
        ask = AskDialog(tr("load settings"), question, judge=judge)
        self.app.push_screen(ask, lambda found: self._take(loaded[-1]) if found else None)

    def _take(self, config: RunConfig) -> None:
        self._config = config
        for field in self.query(OptionField):
            field.show(lookup(config, field.option.key))
        self._judge_stage()
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
        ask = AskDialog(tr("save settings"), tr("To a new file:"), f"{name}.toml", judge)
        self.app.push_screen(ask)

    def action_try(self) -> None:
        """Find out in a process aside how long a step takes."""
        config = self._config
        if self._trying:
            return
        self._trying = True
        self._say(tr("Trying a few steps …"))
        _in_thread(lambda: self.post_message(_tried(config)))

    def on_tried(self, event: Tried) -> None:
        self._trying = False
        if _but_for_length(event.config) != _but_for_length(self._config):
            self._say(tr("The settings have changed: what was tried counts no more"))
        elif event.seconds_a_step is None:
            self._say(tr("Not tried: {why}", why=translate_message(event.problem)))
        else:
            self._measured = event
            self._show_help()
            self._update()

    # Starting and leaving

    @on(Input.Submitted)
    @on(Button.Pressed, "#start")
    async def action_start(self) -> None:
        """Hand the configuration back, or go to the first thing that is wrong with it."""
        self._update()
        if wrong := self._wrong():
            key = wrong[0].option.key
            await self._show_tab(next(at for at, tab in enumerate(TABS) if key in keys_of(tab)))
            names = listed(field.called for field in wrong)
            why = tr("Not started; put right what is marked: {names}", names=names)
            self._refused = wrong[0], why
            wrong[0].editor.focus()
            self._show_help()
        elif self._data is None:
            self._start_wanted = True
            self._say(tr("Looking at the data …"))
        else:
            self.dismiss(self._config)

    @on(Button.Pressed, "#leave")
    def action_leave(self) -> None:
        """Leave; where that loses something, only when asked a second time."""
        if self._leaving or (self._config == self._given and not self._wrong()):
            self.dismiss(None)
            return
        self._leaving = True
        self._say(tr("What you changed would be lost: leave once more to leave, edit to stay"))

    def _wrong(self) -> list[OptionField]:
        return [field for field in self.query(OptionField) if field.problem and field.display]

    # What follows from the values

    def _update(self) -> None:
        """Bring checks, estimate and command up to date with the configuration."""
        self.field("name").complain(_name_taken(self._config))
        self.field("name").show_unset(run_name(self._config))
        try:
            sized = self._estimate()
            peak = tr("{lr:.2g} for this model", lr=self._config.peak_lr)
            self.field("optim.lr").show_unset(peak)
            self.field("model.preset").complain("")
        except ConfigError as error:
            self.field("model.preset").complain(str(error))
            return
        device = self._device()
        measured = self._measured
        if measured and _but_for_length(measured.config) != _but_for_length(self._config):
            measured = self._measured = None
        self.query_one(EstimatePanel).outlook = Outlook(
            config=self._config,
            estimate=sized,
            data=self._data.text if self._data else tr("looking …"),
            device=_in_words(device) if device else tr("looking …"),
            memory_total=device.memory if device else None,
            seconds_a_step=measured.seconds_a_step if measured else None,
        )
        self.query_one("#command", Static).update(f"$ {clean(command_line(self._config))}")

    def _estimate(self) -> Estimate:
        facts = self._data or DataFacts()
        precision: str = self._config.train.precision
        if precision == "auto" and (device := self._device()):
            precision = device.precision
        return estimate(
            self._config,
            corpus_bytes=facts.bytes,
            vocab_size=facts.vocab_size,
            half_precision=precision in ("bf16", "fp16"),
        )

    def _show_help(self) -> None:
        """Explain the focused field; whatever was said before is over."""
        self._leaving = self._start_wanted = False
        field = self._focused_field()
        if self._refused and self._refused[0] is field:
            self._say(self._refused[1])
            return
        shown = self.query_one("#explanation", Static)
        shown.remove_class("-warning")
        if field is None:
            shown.update("", layout=False)
            return
        small_print = _small_print(field.option)
        shown.update(
            Content.assemble(tr(field.option.help), "\n", (small_print, "$foreground 50%")),
            layout=False,
        )

    def _say(self, text: str) -> None:
        shown = self.query_one("#explanation", Static)
        shown.add_class("-warning")
        shown.update(Content(text), layout=False)

    def _focused_field(self) -> OptionField | None:
        focused = self.focused
        return focused.parent if focused and isinstance(focused.parent, OptionField) else None

    # Data and devices, looked at in threads: workers would keep the app from ending before them.

    def _look_soon(self) -> None:
        self._data = None
        if self._typing:
            self._typing.stop()
        self._typing = self.set_timer(TYPING_PAUSE_S, self._look_at_data)

    def _look_at_data(self) -> None:
        config = self._config
        _in_thread(lambda: self.post_message(DataSeen(config, summarize_data(config))))

    async def on_data_seen(self, event: DataSeen) -> None:
        if _what_is_read(event.config) != _what_is_read(self._config):
            return
        self._data = event.facts
        for key in _DATA_KEYS:
            self.field(key).complain(event.facts.problems.get(key, ""))
        self._update()
        if self._start_wanted:
            self._start_wanted = False
            await self.action_start()

    def _find_devices(self) -> None:
        def look_around() -> None:
            from lmm_tui.engine.device import describe_devices

            self.post_message(DevicesFound(describe_devices()))

        _in_thread(look_around)

    def on_devices_found(self, event: DevicesFound) -> None:
        self._devices = event.devices
        self.field("device").set_choices(["auto", *(device.name for device in self._devices)])
        self._update()

    def _device(self) -> DeviceInfo | None:
        """The device that the configuration means, once that is known."""
        wanted = {"cuda": "cuda:0"}.get(self._config.device, self._config.device)
        if wanted == "auto":
            return self._devices[0] if self._devices else None
        return next((device for device in self._devices if device.name == wanted), None)


def _tab_id(index: int) -> str:
    return f"tab-{index}"


def _in_words(device: DeviceInfo) -> str:
    return tr(", ").join((device.name, translate_message(device.description)))


def _in_thread(function: Callable[[], object]) -> None:
    threading.Thread(target=function, daemon=True).start()


def _tried(config: RunConfig) -> Tried:
    try:
        return Tried(config, seconds_a_step(config))
    except LmmError as error:
        return Tried(config, None, str(error))


def _but_for_length(config: RunConfig) -> RunConfig:
    """The configuration without its length: a step takes as long in a longer run."""
    return check("train.steps", 1, check("name", None, config))


def _what_is_read(config: RunConfig) -> tuple[object, ...]:
    return config.data, config.reads_text


def _name_taken(config: RunConfig) -> str:
    if config.name is None or not RunDir(Path(config.runs_dir) / config.name).exists():
        return ""
    return tr(
        "{folder} holds a run of this name; choose another, or leave it empty",
        folder=config.runs_dir,
    )


def _small_print(option: Option) -> str:
    default = to_text(option, option.default) or UNSET
    if option.kind is bool or default == UNSET:
        default = tr(default)
    said = tr("default {value}", value=default)
    return " · ".join(filter(None, (translate_range(option.allowed), said, option.key)))


if __name__ == "__main__":
    import asyncio

    from textual.app import App

    async def fill_in() -> RunConfig | None:
        app: App[None] = App()
        answers: list[RunConfig | None] = []
        async with app.run_test(size=(80, 24)) as pilot:
            screen = ConfigureScreen(RunConfig())
            app.push_screen(screen, answers.append)
            await pilot.pause()
            await pilot.press("right", "enter")
            while not answers:
                await pilot.pause(0.05)
        return answers[0]

    chosen = asyncio.run(fill_in())
    assert chosen is not None
    print(command_line(chosen))
    assert chosen.model.preset == "tiny"
    print("=== 自测通过 ===")
