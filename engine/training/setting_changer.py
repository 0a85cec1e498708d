"""Changes settings while a run trains, and makes the changes of a resumed run again.

A change that was made after the checkpoint that a run is resumed from is made again at its step:
the steps that are repeated then have the losses that they had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lmm_tui.engine.config.resolve import with_changes
from lmm_tui.engine.config.run_settings import (
    at_start_only,
    changed_settings,
    may_change,
    one_length,
)
from lmm_tui.engine.run.setting_changes import SettingChange
from lmm_tui.engine.training.context import TrainContext
from lmm_tui.engine.training.schedule import lr_factor
from lmm_tui.message import Message


class SettingChanger:
    """The settings of one run."""

    is_for_leader = False

    def __init__(self, context: TrainContext) -> None:
        self._context = context
        self._history = context.job.history
        self._made_at = context.step

    def resume(self, origin: str) -> None:
        """Set what held at the step of the context, and record the resume, `from` what."""
        context, step = self._context, self._context.step
        asked = [replace(change, step=step) for change in context.job.asked]
        for change in asked:
            self._history.add(change)
        self._set(self._history.at(step))
        said = origin
        if asked:
            said = _with_new(said, _all([_sentence(change) for change in asked]))
        if later := self._history.after(step):
            again = [
                Message("{change} @{step}", change=_sentence(change), step=change.step)
                for change in later
            ]
            said = _with_later(said, _all(again))
        records = [change.record() for change in asked]
        context.run.resume_after(step, said, changes=records)

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
            at = changes.index(peak)
            said[at] = _with_rates(said[at], lr, self.lr, wanted.optim.schedule)
        said += [_not_again(old) for old in replaced]
        return changes, _all(said) if said else _nothing()

    def decide(self) -> dict[str, Any] | None:
        """The changes that were made at the step of the context, to be made again."""
        step = self._context.step
        if step == self._made_at:
            return None
        self._made_at = step
        due = {one.key: one.after for one in self._history.changes if one.step == step}
        return due or None

    def act(self, due: dict[str, Any]) -> None:
        before, step = self._context.config, self._context.step
        self._set(due)
        if again := changed_settings(before, self._context.config, step):
            text = Message("set again: {again}", again=[*map(_sentence, again)])
            self._context.events.write("command", text, step=step, ok=True)

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        context, config = self._context, self._context.config
        factor = lr_factor(context.step, context.total_steps, config.optim)
        return config.peak_lr * factor * context.lr_scale

    def _set(self, values: Mapping[str, Any]) -> None:
        config = self._context.config
        known = {
            key: value
            for key, value in one_length(values, config).items()
            if may_change(key) and not at_start_only(key)
        }
        self._context.change_settings(with_changes(config, known))


def _of(changes: list[SettingChange], key: str) -> SettingChange | None:
    return next((change for change in changes if change.key == key), None)


def _sentence(change: SettingChange) -> str:
    """Such as `peak learning rate 0.003 → 0.001`."""
    before, after = _text(change.before), _text(change.after)
    if change.key == "optim.lr":
        return Message("peak learning rate {before} → {after}", before=before, after=after)
    if change.key == "optim.clip":
        return Message("max grad norm {before} → {after}", before=before, after=after)
    if change.key == "log.prompts":
        return Message("prompts of samples: {count} now", count=len(change.after))
    return Message("{key} {before} → {after}", key=change.key, before=before, after=after)


def _with_rates(sentence: str, before: float, after: float, schedule: str) -> str:
    if schedule == "constant":
        return Message(
            "{sentence} (now {before:.3g} → {after:.3g})",
            sentence=sentence,
            before=before,
            after=after,
        )
    return Message(
        "{sentence} (now {before:.3g} → {after:.3g}, the {schedule} schedule continues)",
        sentence=sentence,
        before=before,
        after=after,
        schedule=schedule,
    )


def _with_new(origin: str, changes: str) -> str:
    return Message("{origin}; with {changes}", origin=origin, changes=changes)


def _with_later(origin: str, changes: str) -> str:
    return Message("{origin}; again at its step: {changes}", origin=origin, changes=changes)


def _not_again(change: SettingChange) -> str:
    return Message(
        "not again at step {step}: {sentence}", step=change.step, sentence=_sentence(change)
    )


def _all(said: Sequence[str]) -> str:
    return Message("{changes}", changes=[*said])


def _nothing() -> str:
    return Message("nothing changes: it has these values")


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else "unset" if value is None else str(value)


if __name__ == "__main__":
    print(_sentence(SettingChange(100, "optim.lr", 3e-3, 1e-3)))
    print("=== 自测通过 ===")
