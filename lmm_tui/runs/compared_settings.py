"""The settings of runs as flat tables, read without the configuration tree, and where they differ.

A run's config.toml has what it began with; changes made since are in its events.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import RunInfo, read_record
from lmm_tui.engine.run.setting_changes import read_history
from lmm_tui.guarded_files import read_text
from lmm_tui.i18n.number_format import NOTHING
from lmm_tui.toml_text import flat, parse_toml

Settings = Mapping[str, Any]
"""By dotted key, such as `optim.lr`."""

_OWN = frozenset({"name", "runs_dir", "group", "data.tokenizer", "data.cache_dir"})
"""What differs between any two runs and says nothing."""


_ABSENT = object()


def settings_began(run: RunDir) -> dict[str, Any]:
    """The settings in config.toml; empty where it is missing or cannot be read."""
    try:
        tree = parse_toml(read_text(run.config, run.path))
    except (OSError, ValueError):
        return {}
    return dict(flat(tree))


def settings_now(run: RunDir) -> dict[str, Any]:
    """The settings after the last change."""
    return settings_of(run)[1]


def settings_of(run: RunDir) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings in config.toml, and those after the last change."""
    began = settings_began(run)
    return began, began | read_history(run.events).at() if began else began


def differing(
    settings: Sequence[Settings], absent: Callable[[str], Any] | None = None
) -> list[str]:
    """The keys whose values are not the same everywhere, in the order of the first that has them.

    A run of an older version, whose file lacks a key, has its default, or what `absent` says. Of
    one run alone none differ.
    """
    keys = dict.fromkeys(key for one in settings for key in one if key not in _OWN)
    return [key for key in keys if _differs(key, settings, absent or default_of)]


def _differs(key: str, settings: Sequence[Settings], absent: Callable[[str], Any]) -> bool:
    values = [one.get(key, _ABSENT) for one in settings]
    if _ABSENT in values:
        default = absent(key)
        values = [default if value is _ABSENT else value for value in values]
    return values.count(values[0]) < len(values)


def default_of(key: str) -> Any:
    """What a setting is where nobody sets it; None of what is no setting."""
    return _defaults().get(key)


@cache
def _defaults() -> Settings:
    from lmm_tui.engine.config.run_config import RunConfig  # Only runs of two versions need it.

    return dict(flat(RunConfig.defaults().model_dump(mode="json")))


def told_settings(run: RunDir) -> dict[str, str]:
    """Settings as texts, one that was changed as `0.003 → 0.001 @100`, and what they were run on.

    That is the git commit, a digest of the changes beside it, and the versions of packages.
    """
    began = settings_began(run)
    told = {key: setting_text(value) for key, value in began.items() if key not in _OWN}
    for change in read_history(run.events).changes:
        before = told.get(change.key, setting_text(change.before))
        told[change.key] = f"{before} → {setting_text(change.after)} @{change.step}"
    return told | _environment(run)


def _environment(run: RunDir) -> dict[str, str]:
    info = read_record(run.info_file, RunInfo)
    if info is None:
        return {}
    found = {f"git.{key}": info.git[key] for key in ("commit", "branch") if key in info.git}
    if diff := info.git.get("diff"):
        digest = hashlib.blake2b(diff.encode("utf-8", "replace"), digest_size=4).hexdigest()
        found["git.diff"] = f"{diff.count(chr(10)) + 1} lines, {digest}"
    return found | {f"versions.{name}": text for name, text in info.versions.items()}


def setting_text(value: object) -> str:
    """A value of a setting as it is shown: 0.0003 rather than 0.00030000000000000003."""
    if value is None or value == []:
        return NOTHING
    if isinstance(value, bool):
        return str(value).lower()  # As it is written in config.toml.
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    one, other = {"optim.lr": 1e-3, "train.seed": 0}, {"optim.lr": 3e-3, "train.seed": 0}
    assert differing([one, other]) == ["optim.lr"] and not differing([one])
    print(differing([one, other]))
    print("=== 自测通过 ===")
