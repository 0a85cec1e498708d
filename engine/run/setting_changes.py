"""Settings that changed while a run trained, or where it was resumed: which value held at a step.

They are in events.jsonl, under `changes` of the command or resume that made them. config.toml has
the settings that the run began with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from typing import Any

from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.guarded_files import read_text, reading, version_of
from lmm_tui.toml_text import parse_toml


@dataclass(frozen=True)
class SettingChange:
    """The setting under a dotted key is `after` from the step after `step` on."""

    step: int
    key: str
    before: Any
    after: Any

    def record(self) -> dict[str, Any]:
        return asdict(self)


class SettingHistory:
    """The changes of one run, in the order in which they were made.

    After a resume a run trains steps again. A change of one of these steps is made again there,
    unless the setting was changed anew before it.
    """

    def __init__(self, changes: Iterable[SettingChange] = ()) -> None:
        self.began: dict[str, Any] = {}
        """What the settings that have changed were at the beginning."""
        self.changes: list[SettingChange] = []
        """Those in force, by step."""
        for change in changes:
            self.add(change)

    def add(self, change: SettingChange) -> list[SettingChange]:
        """Add the latest change; returns those of later steps that it replaces."""
        self.began.setdefault(change.key, change.before)
        replaced = [old for old in self.changes if old.key == change.key and old.step > change.step]
        kept = [old for old in self.changes if old not in replaced]
        self.changes = sorted([*kept, change], key=lambda one: one.step)
        return replaced

    def at(self, step: int | None = None) -> dict[str, Any]:
        """The values after a step, or after the last change, of all settings that ever change."""
        values = dict(self.began)
        for change in self.changes:
            if step is None or change.step <= step:
                values[change.key] = change.after
        return values

    def after(self, step: int) -> list[SettingChange]:
        """The changes of later steps."""
        return [change for change in self.changes if change.step > step]


def changes_in(events: Iterable[Mapping[str, Any]]) -> list[SettingChange]:
    """The changes that events tell of; what is not one is left out."""
    found = []
    for event in events:
        listed = event.get("changes")
        for one in listed if isinstance(listed, list) else ():
            match one:
                case {"step": int(step), "key": str(key), "before": before, "after": after}:
                    found.append(SettingChange(step, key, before, after))
    return found


def read_history(events: Path) -> SettingHistory:
    """From the events.jsonl of a run, read again when it has grown; empty where that cannot be."""
    try:
        return SettingHistory(_changes(events, version_of(events)))
    except OSError:
        return SettingHistory()


@lru_cache(maxsize=64)
def _changes(events: Path, version: object) -> list[SettingChange]:
    """Those that a version of the file tells of."""
    del version
    from lmm_tui.metrics.readers.json_lines import parse  # It imports numpy.

    with BufferedReader(reading(events, events.parent)) as lines:
        # Most events tell of no change: only lines that may are parsed.
        parsed = [parse(line) for line in lines if b'"changes"' in line]
    return changes_in(row for row in parsed if row is not None)


def settings_table(run: RunDir) -> dict[str, Any]:
    """The settings after the last change as nested tables, unchecked.

    Raises OSError or ValueError where config.toml cannot be read.
    """
    began = parse_toml(read_text(run.config, run.path))
    return _with_values(began, read_history(run.events).at())


def _with_values(settings: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables of settings with other values under dotted keys; None unsets one."""
    tree = dict(settings)
    for key, value in values.items():
        section, _, rest = key.partition(".")
        if rest:
            below = tree.get(section)
            tree[section] = _with_values(below if isinstance(below, Mapping) else {}, {rest: value})
        elif value is None:
            tree.pop(section, None)
        else:
            tree[section] = value
    return tree


if __name__ == "__main__":
    history = SettingHistory([SettingChange(100, "optim.lr", 3e-3, 1e-3)])
    print(history.at(94), history.at(100), history.after(94))
    assert history.add(SettingChange(97, "optim.lr", 3e-3, 2e-3)) and history.at() == {
        "optim.lr": 2e-3
    }
    print("=== 自测通过 ===")
