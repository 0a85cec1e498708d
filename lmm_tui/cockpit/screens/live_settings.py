"""A dialog for the settings that can change in a live run: new values are typed, then confirmed.

Nothing is changed here: the dialog is dismissed with the changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from textual import events, on
from textual.app import ComposeResult
from textual.containers import HorizontalGroup, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from lmm_tui.cockpit import style_sheets
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.setting_changes import settings_table
from lmm_tui.i18n.language import mark, tr

Changes = dict[str, float]
"""New values by the argument names of the command `set`."""


@dataclass(frozen=True)
class LiveSetting:
    """`name` is an argument of the command `set`, `key` that of a setting.

    The value is a number of steps, `least` or more; where `least` is None, any number above 0.
    """

    name: str
    key: str
    label: str
    least: int | None

    def judge(self, text: str) -> float:
        """Parse what was typed. Raises ValueError with what is wrong with it."""
        try:
            value = float(text)
        except ValueError:
            raise ValueError(tr("is not a number")) from None
        if self.least is None:
            if not math.isfinite(value) or value <= 0:
                raise ValueError(tr("must be greater than 0"))
            return value
        if not math.isfinite(value) or value != int(value) or value < self.least:
            raise ValueError(
                tr("must be a whole number of steps, at least {least}", least=self.least)
            )
        return int(value)


SETTINGS = (
    LiveSetting("lr", "optim.lr", mark("peak learning rate"), None),
    LiveSetting("clip", "optim.clip", mark("max grad norm"), None),
    LiveSetting("log_every", "log.every", mark("log every"), 1),
    LiveSetting("val_every", "log.val_every", mark("validate every"), 0),
    LiveSetting("probe_every", "log.probe_every", mark("probe every"), 0),
    LiveSetting("sample_every", "log.sample_every", mark("sample every"), 0),
    LiveSetting("checkpoint_every", "log.checkpoint_every", mark("checkpoint every"), 0),
)
"""What the training loop takes; it checks every value again, more strictly."""


_BY_LENGTH = ("sample_every", "checkpoint_every")
_ALWAYS_SET = "val_every"


class LiveSettings(ModalScreen[Changes | None]):
    """A field per setting; enter shows what would change, enter again confirms it."""

    CSS_PATH = style_sheets.SCREENS

    def __init__(self, current: Mapping[str, float], present_lr: float | None = None) -> None:
        """`current` has values by name; those that are missing can be set all the same.

        `present_lr` is the learning rate of the last step, where the schedule has come to.
        """
        super().__init__()
        self._current = current
        self._present_lr = present_lr
        self._changes: Changes = {}

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog") as dialog:
            dialog.border_title = tr("Live settings")
            with Vertical(id="settings"):
                for setting in SETTINGS:
                    with HorizontalGroup():
                        yield Static(tr(setting.label), classes="label")
                        yield Input(
                            self._shown(setting),
                            placeholder=self._unset(setting),
                            compact=True,
                            id=setting.name,
                        )
                        yield Static("" if setting.least is None else tr("steps"), classes="unit")
            yield Static("", id="verdict")
            yield Button(f"enter  {tr('Preview the changes')}", id="go", compact=True)
            yield Button(f"esc    {tr('Cancel')}", id="stay", compact=True)

    def _unset(self, setting: LiveSetting) -> str:
        """What applies to an interval that the known settings of the run leave open."""
        open_ = setting.name in _BY_LENGTH and _ALWAYS_SET in self._current
        return tr("by run length") if open_ else ""

    def on_mount(self) -> None:
        self.query_one("#lr", Input).focus()
        self._judge()

    def _shown(self, setting: LiveSetting) -> str:
        return _shown(setting, self._current)

    @on(Input.Changed)
    def _judge(self) -> bool:
        """Show what would change; True if there are changes and all of them are valid."""
        self._changes = {}
        lines, wrong = [], []
        for setting in SETTINGS:
            text = self.query_one(f"#{setting.name}", Input).value.strip()
            if text == self._shown(setting):
                continue
            try:
                value = setting.judge(text)
            except ValueError as error:
                wrong.append(f"{tr(setting.label)} {error}")
                continue
            self._changes[setting.name] = value
            lines.append(what_changes(setting, value, self._current, self._present_lr))
        self._label_button(confirming=False)
        said = wrong or lines or [tr("Edit a value; up and down move between fields.")]
        style = "$text-error" if wrong else "bold" if lines else "$foreground 60%"
        self.query_one("#verdict", Static).update(Content.styled("\n".join(said), style))
        return bool(lines) and not wrong

    def _label_button(self, *, confirming: bool) -> None:
        button = self.query_one("#go", Button)
        said = tr("Apply after the current step") if confirming else tr("Preview the changes")
        button.label = f"enter  {said}"
        button.set_class(confirming, "-confirming")

    @on(Input.Submitted)
    @on(Button.Pressed, "#go")
    def _go(self) -> None:
        button = self.query_one("#go", Button)
        if button.has_class("-confirming"):
            self.dismiss(self._changes)
        elif self._judge():
            self._label_button(confirming=True)
            button.focus()

    @on(Button.Pressed, "#stay")
    def _stay(self) -> None:
        self.dismiss(None)

    def on_key(self, event: events.Key) -> None:
        if event.key in ("up", "down"):
            event.stop()
            self.focus_previous() if event.key == "up" else self.focus_next()
        elif event.key == "escape":
            event.stop()
            self.dismiss(None)


def what_changes(
    setting: LiveSetting, value: float, current: Mapping[str, float], present_lr: float | None
) -> str:
    """A change, such as `peak learning rate  0.003 → 0.001  (now 2.49e-3 → 8.3e-4)`."""
    before = _shown(setting, current) or "?"
    line = f"{tr(setting.label)}  {before} → {_number_text(value, 6)}"
    peak = current.get("lr")
    if setting.name != "lr" or present_lr is None or not peak:
        return line
    rates = _number_text(present_lr, 3), _number_text(present_lr * value / peak, 3)
    return line + tr("  (now {before} → {after})", before=rates[0], after=rates[1])


def _shown(setting: LiveSetting, current: Mapping[str, float]) -> str:
    """The text of an unedited field; it may be rounded, since it is not sent."""
    known = current.get(setting.name)
    if known is None:
        return ""
    return _number_text(known, 4) if setting.least is None else f"{known:.0f}"


def current_settings(run: RunDir) -> dict[str, float]:
    """The values in the settings of a run; what cannot be read is left out."""
    try:
        found = settings_table(run)
    except (OSError, ValueError, RecursionError):
        return {}
    values = {setting.name: _lookup(found, setting.key) for setting in SETTINGS}
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}


def _number_text(value: float, digits: int) -> str:
    """A number in its short form: 0.005196, 3e-5."""
    return f"{value:.{digits}g}".replace("e-0", "e-").replace("e+0", "e")


def _lookup(tree: dict[str, Any], key: str) -> Any:
    section, _, name = key.partition(".")
    table = tree.get(section)
    return table.get(name) if isinstance(table, dict) else None


if __name__ == "__main__":
    print([(setting.name, setting.judge("30")) for setting in SETTINGS])
    try:
        SETTINGS[-1].judge("0.5")
    except ValueError as refusal:
        print(refusal)
    print("=== 自测通过 ===")
