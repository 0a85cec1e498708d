"""Changes settings while a run trains, and makes the changes of a resumed run again.

A change that was made after the checkpoint that a run is resumed from is made again at its step:
the steps that are repeated then have the losses that they had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lmm_tui.engine.config.resolve import with_changes
from lmm_tui.engine.config.run_settings import AT_START, changed_settings, may_change
from lmm_tui.engine.run.setting_changes import SettingChange
from lmm_tui.engine.training.context import TrainContext
from lmm_tui.engine.training.schedule import lr_factor


class SettingChanger:
    """The settings of one run."""

    def __init__(self, context: TrainContext) -> None:
        self._context = context
        self._history = context.host.history

    def resume(self, origin: str) -> None:
        """Set what held at the step of the context, and record the resume, `from` what."""
        context, step = self._context, self._context.step
        asked = [replace(change, step=step) for change in context.host.asked]
        for change in asked:
            self._history.add(change)
        self._set(self._history.at(step))
        info = context.run_dir.read_info()
        context.host.describe(resumed_steps=[*info.resumed_steps, step])
        said = [origin]
        if asked:
            said.append("with " + ", ".join(map(_sentence, asked)))
        if later := self._history.after(step):
            again = [f"{_sentence(change)} @{change.step}" for change in later]
            said.append("again to come: " + ", ".join(again))
        records = [change.record() for change in asked]
        context.events.write("resume", "; ".join(said), step=step, changes=records)

    def change(self, values: Mapping[str, Any]) -> tuple[list[SettingChange], str]:
        """Change settings from the next step on; the changes made, and a sentence about them.

        Raises ConfigError where a value is not allowed; nothing is changed then.
        """
        context = self._context
        before, lr = context.config, self.lr
        wanted = with_changes(before, values)
        if wanted.peak_lr != before.peak_lr and before.optim.name == "muon":
            # One rate stands for both: that of Muon's matrices keeps its ratio to it.
            scaled = before.optim.muon_lr * wanted.peak_lr / before.peak_lr
            wanted = with_changes(wanted, {"optim.muon_lr": scaled})
        changes = changed_settings(before, wanted, context.step)
        replaced = [old for change in changes for old in self._history.add(change)]
        context.change_settings(wanted)
        said = [_sentence(change) for change in changes]
        if self.lr != lr and (peak := _of(changes, "optim.lr")):
            schedule = wanted.optim.schedule
            on = "" if schedule == "constant" else f", the {schedule} schedule continues"
            said[changes.index(peak)] += f" (now {lr:.3g} → {self.lr:.3g}{on})"
        said += [f"not again at step {old.step}: {_sentence(old)}" for old in replaced]
        return changes, ", ".join(said) or "nothing changes: it has these values"

    def make_due(self) -> None:
        """Make the changes again that were made at the step of the context."""
        before, step = self._context.config, self._context.step
        due = {change.key: change for change in self._history.changes if change.step == step}
        if not due:
            return
        self._set({key: change.after for key, change in due.items()})
        if again := changed_settings(before, self._context.config, step):
            text = f"set again: {', '.join(map(_sentence, again))}"
            self._context.events.write("command", text, step=step, ok=True)

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        context, config = self._context, self._context.config
        factor = lr_factor(context.step, config.train.steps, config.optim)
        return config.peak_lr * factor * context.lr_scale

    def _set(self, values: Mapping[str, Any]) -> None:
        known = {
            key: value for key, value in values.items() if may_change(key) and key not in AT_START
        }
        self._context.change_settings(with_changes(self._context.config, known))


NAMES = {"optim.lr": "peak learning rate", "optim.clip": "clip at norm"}
"""What people call a setting."""


def _of(changes: list[SettingChange], key: str) -> SettingChange | None:
    return next((change for change in changes if change.key == key), None)


def _sentence(change: SettingChange) -> str:
    """Such as `peak learning rate 0.003 → 0.001`."""
    name = NAMES.get(change.key, change.key)
    return f"{name} {_text(change.before)} → {_text(change.after)}"


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else "unset" if value is None else str(value)


if __name__ == "__main__":
    print(_sentence(SettingChange(100, "optim.lr", 3e-3, 1e-3)))
    print("=== 自测通过 ===")
