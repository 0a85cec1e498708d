"""The trackers of this package and those of installed ones, by name."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.metrics.writers.mirror import Tracker
from lmm_tui.named_code import TRACKER_GROUP, installed_names, load

_BUILT_IN: Mapping[str, str] = {
    name: f"lmm_tui.engine.trackers.{name}_tracker:{kind}"
    for name, kind in (
        ("wandb", "WandbTracker"),
        ("trackio", "TrackioTracker"),
        ("mlflow", "MlflowTracker"),
    )
}
"""By the names of the packages behind them."""


def tracker_names() -> list[str]:
    """All that `log.trackers` may name."""
    return [*_BUILT_IN, *installed_names(TRACKER_GROUP)]


def check_tracker(name: str) -> None:
    """Raise ConfigError where no tracker has this name, or its package is missing."""
    if name not in tracker_names():
        raise ConfigError(
            "log.trackers: there is no tracker {name!r}; choose from {known}",
            name=name,
            known=tracker_names(),
        )
    if name in _BUILT_IN and importlib.util.find_spec(name) is None:
        raise ConfigError(
            "log.trackers: {name} needs its package; install it with `pip install {name}`",
            name=name,
        )


def new_tracker(name: str) -> Tracker:
    """One of `tracker_names`; imports its code."""
    tracker: Tracker = load(_BUILT_IN.get(name, name), TRACKER_GROUP)()
    return tracker


if __name__ == "__main__":
    print(tracker_names())
    try:
        check_tracker("paper")
    except ConfigError as error:
        print(error)
    print("=== 自测通过 ===")
