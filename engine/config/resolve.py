"""A checked `RunConfig` from defaults, a file and assignments, the last one winning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.config_file import load_toml
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.sections.train_config import LENGTHS
from lmm_tui.engine.config.validation_message import validation_message


def resolve(
    file: Path | None = None,
    assignments: Mapping[str, Any] | None = None,
    base: Mapping[str, Any] | None = None,
) -> RunConfig:
    """Defaults < `base` < `file` < `assignments` (dotted keys), checked.

    Raises ConfigError: one sentence with the file and line, or the key, that is wrong.
    """
    tree = merged({}, base or {})
    if file is not None:
        table = load_toml(file)
        _validate(table, file)
        # In a run's own file the steps are those that followed from its epochs.
        if not (file.parent / "run.json").is_file():
            refuse_two_lengths(table, f"{file}: ")
        tree = merged(with_later_length(tree, table), table)
    assigned: dict[str, Any] = {}
    for key, value in (assignments or {}).items():
        _set(assigned, key, value)
    refuse_two_lengths(assigned, "")
    tree = with_later_length(tree, assigned)
    for key, value in (assignments or {}).items():
        _set(tree, key, value)
    config = _validate(tree, file) if tree else RunConfig.defaults()
    config.model.shape()
    return config


def merged(base: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables combined into new ones; where both have a value, `other` wins."""
    result = dict(base)
    for key, value in other.items():
        if isinstance(value, Mapping):
            below = result.get(key)
            result[key] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def with_changes(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """`config` with other values under dotted keys; ConfigError where one is not allowed."""
    changed: dict[str, Any] = {}
    for key, value in values.items():
        _set(changed, key, value)
    tree = with_later_length(config.model_dump(), changed)
    for key, value in values.items():
        _set(tree, key, value)
    return _validate(tree, None)


def refuse_two_lengths(table: Mapping[str, Any], where: str) -> None:
    """Raise ConfigError where one table gives the length of a run twice."""
    train = table.get("train")
    given = [key for key in ("steps", *LENGTHS) if _has(train, key)]
    if len(given) > 1:
        raise ConfigError(
            "{where}train.{one} and train.{other} both say how long the run is; leave one out",
            where=where,
            one=given[0],
            other=given[1],
        )


def with_later_length(tree: dict[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """`tree`, without the length of its run where `later` gives another one."""
    train, below = later.get("train"), tree.get("train")
    if not isinstance(train, Mapping) or not isinstance(below, Mapping):
        return tree
    if not any(key in train for key in ("steps", *LENGTHS)):
        return tree
    kept = {key: value for key, value in below.items() if key not in LENGTHS or key in train}
    return tree | {"train": kept}


def _has(table: object, key: str) -> bool:
    return isinstance(table, Mapping) and table.get(key) is not None


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, leaf = key.split(".")
    for section in sections:
        table = tree.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(
                "{key}: {section!r} is a value, not a section", key=key, section=section
            )
        tree = table
    tree[leaf] = value


def _validate(tree: Mapping[str, Any], file: Path | None) -> RunConfig:
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(validation_message(error, file)) from None


if __name__ == "__main__":
    print(resolve(assignments={"train.steps": 20}).train)
    try:
        resolve(assignments={"optim.lrr": 1})
    except ConfigError as error:
        print(error)
    print("=== 自测通过 ===")
