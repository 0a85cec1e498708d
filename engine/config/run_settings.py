"""The settings of a run that has trained: those it began with, and what was changed since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmm_tui.engine.config.options import lookup, options
from lmm_tui.engine.config.resolve import resolve, with_changes
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.sections.train_config import LENGTHS
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.setting_changes import SettingChange, read_history

_AT_START = (
    "device",
    "train.precision",
    "train.compile",
    "train.recompute",
    "train.cuda_graphs",
    "train.fp8",
    "train.threads",
    "data.cache_dir",
    "log.tensorboard",
    "grpo.rewards",
    "grpo.weights",
)
_AT_START_SECTIONS = ("health.", "notify.", "parallel.")
_CHANGEABLE = (
    *_AT_START,
    "train.steps",
    *(f"train.{key}" for key in LENGTHS),
    "train.on_nonfinite",
    "train.rollback_lr_factor",
)
_CHANGEABLE_SECTIONS = ("optim.", "log.", *_AT_START_SECTIONS)
_FIXED = ("optim.name", "optim.state_dtype")
"""Settings that may change in a run: none that the shape of the weights or the data order depend
on. Commands and rewards are among them, so that those of a stranger's run can be switched off."""


def settings_of(run: RunDir) -> RunConfig:
    """The settings after the last change; raises ConfigError where config.toml is not usable."""
    began = resolve(run.config)
    values = one_length(read_history(run.events).at(), began)
    return with_changes(began, {key: values[key] for key in values if may_change(key)})


def one_length(values: Mapping[str, Any], config: RunConfig) -> dict[str, Any]:
    """New values of settings of `config`, without the steps where they follow from another one."""
    lengths = (values.get(f"train.{key}", getattr(config.train, key)) for key in LENGTHS)
    follow = any(length is not None for length in lengths)
    return {key: value for key, value in values.items() if key != "train.steps" or not follow}


def resumed_settings(run: RunDir, wanted: RunConfig) -> RunConfig:
    """The settings after the last change, except for those that `wanted` has not as the run began.

    For a caller that starts and resumes a run with the same settings.
    """
    asked = changed_settings(resolve(run.config).completed(), wanted.completed(), 0)
    return with_changes(settings_of(run), {change.key: change.after for change in asked})


def may_change(key: str) -> bool:
    """Whether a setting can change in a run, while it trains or where it is resumed."""
    return key in _CHANGEABLE or (key.startswith(_CHANGEABLE_SECTIONS) and key not in _FIXED)


def at_start_only(key: str) -> bool:
    """Whether a change takes effect only where the run is started or resumed."""
    return key in _AT_START or key.startswith(_AT_START_SECTIONS)


def changed_settings(before: RunConfig, after: RunConfig, step: int) -> list[SettingChange]:
    """The settings that may change in which two configurations differ, as changes at a step."""
    found = []
    for option in options():
        if option.key == "train.steps" and after.train.length_key != "steps":
            continue  # They follow.
        old, new = lookup(before, option.key), lookup(after, option.key)
        if old != new and may_change(option.key):
            found.append(SettingChange(step, option.key, old, new))
    return found


if __name__ == "__main__":
    longer = resolve(assignments={"train.steps": 2000})
    print(changed_settings(RunConfig(), longer, 1000))
    print("=== 自测通过 ===")
