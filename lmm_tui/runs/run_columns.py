"""The columns of a list of runs: facts of a run by name, and its settings by dotted key.

A column has a plain value, for filters and sorting, and a text. Settings are read only where a
column asks for them: config.toml of 2,000 runs takes 0.3 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.number_format import NOTHING, count, duration, number
from lmm_tui.metrics.health.verdict import LEVELS
from lmm_tui.runs.compared_settings import differing, settings_now
from lmm_tui.runs.run_list import ListedRun
from lmm_tui.runs.status_text import steps_text, verdict_text

DIFFERING = "differing"
"""Stands for the settings in which the runs differ."""

MOST_DIFFERING = 8

Value = str | int | float | bool | None

FACTS: Mapping[str, Callable[[ListedRun], Value]] = {
    "name": lambda run: run.name,
    "state": lambda run: run.summary.state,
    "health": lambda run: run.summary.verdict.headline,
    "level": lambda run: run.summary.verdict.level,
    "stage": lambda run: run.summary.info.stage or run.summary.log_format,
    "group": lambda run: run.summary.info.group,
    "tag": lambda run: " ".join(run.tags),
    "model": lambda run: run.summary.info.model,
    "parameters": lambda run: run.summary.info.parameters or None,
    "step": lambda run: run.summary.status.step,
    "steps": lambda run: run.summary.status.total_steps or None,
    "tokens": lambda run: run.summary.status.tokens or None,
    "loss": lambda run: run.summary.status.loss,
    "val": lambda run: run.summary.status.val_loss,
    "speed": lambda run: run.summary.status.tokens_per_s,
    "seconds": lambda run: run.summary.info.seconds_at(run.summary.status.heartbeat) or None,
    "started": lambda run: run.summary.info.started or None,
    "device": lambda run: run.summary.info.device,
    "host": lambda run: run.summary.info.host,
    "parent": lambda run: run.summary.info.parent,
    "note": lambda run: run.note,
}

_TEXTS: Mapping[str, Callable[[ListedRun], str]] = {
    "state": lambda run: tr(run.summary.state),
    "health": lambda run: verdict_text(run.summary.verdict),
    "step": lambda run: steps_text(run.summary),
    "seconds": lambda run: duration(run.summary.info.seconds_at(run.summary.status.heartbeat)),
    "started": lambda run: tr("{time} ago", time=duration(time.time() - run.summary.info.started)),
}
_COUNTS = ("parameters", "tokens", "speed")


class ColumnError(LmmError):
    """A column that no run of the list has."""


class RunColumns:
    """The columns of some runs."""

    def __init__(self, runs: Sequence[ListedRun]) -> None:
        self._runs = runs
        self._read: dict[str, dict[str, Any]] | None = None

    def narrowed(self, runs: Sequence[ListedRun]) -> RunColumns:
        """Those of some of the runs, without reading them again."""
        found = RunColumns(runs)
        found._read = self._read
        return found

    def known(self, name: str) -> str:
        """The full name of a column; ColumnError where there is none.

        A setting may be named by its last part, as `lr`.
        """
        if name in FACTS:
            return name
        keys = dict.fromkeys(key for one in self._settings.values() for key in one)
        if name in keys:
            return name
        found = [key for key in keys if key.endswith(f".{name}")]
        if len(found) == 1:
            return found[0]
        if found:
            raise ColumnError(
                "{name}: names several settings, {found}; write it whole", name=name, found=[*found]
            )
        raise ColumnError(
            "{name}: no column and no setting of these runs; columns are "
            "{facts}, and settings such as optim.lr",
            name=name[:80],
            facts=[*FACTS],
        )

    def chosen(self, names: Sequence[str]) -> list[str]:
        """Full names, `differing` replaced by the settings in which the runs differ."""
        found: list[str] = []
        for name in names:
            found += self.differing() if name == DIFFERING else [self.known(name)]
        return [*dict.fromkeys(found)]

    def differing(self) -> list[str]:
        """The first settings in which the runs differ, logs of other programs left out."""
        settings = [one for run in self._runs if (one := self._settings[run.name])]
        return differing(settings)[:MOST_DIFFERING] if settings else []

    def value(self, run: ListedRun, column: str) -> Value:
        """Of a column by its full name; None where a run does not have it."""
        if fact := FACTS.get(column):
            return fact(run)
        found = self._settings.get(run.name, {}).get(column)
        return found if isinstance(found, str | int | float | bool | None) else str(found)

    def text(self, run: ListedRun, column: str) -> str:
        """The value as it is shown."""
        value = self.value(run, column)
        if value is None or value == "":
            return NOTHING
        if column in _TEXTS:
            return _TEXTS[column](run)
        if column in _COUNTS:
            return count(float(value))
        if column in ("loss", "val"):
            return number(float(value), 3)
        return f"{value:g}" if isinstance(value, float) else str(value)

    def order(self, run: ListedRun, column: str) -> Value:
        """What runs are sorted by: the verdict by how bad it is, else the value."""
        if column == "health":
            return LEVELS.index(run.summary.verdict.level)
        return self.value(run, column)

    @property
    def _settings(self) -> dict[str, dict[str, Any]]:
        if self._read is None:
            self._read = {
                run.name: {} if run.is_log else settings_now(RunDir(run.summary.path))
                for run in self._runs
            }
        return self._read


if __name__ == "__main__":
    from pathlib import Path

    from lmm_tui.engine.run.run_records import RunInfo, RunStatus
    from lmm_tui.runs.status_text import RunSummary

    info = RunInfo("base", "sft", 0, 0.0, "box", 1, 0.0)
    status = RunStatus("finished", 10, 10, loss=2.5)
    demo = ListedRun(RunSummary(Path("base"), info, status, "finished"))
    columns = RunColumns([demo])
    print([columns.text(demo, name) for name in ("name", "stage", "step", "loss", "val")])
    try:
        columns.known("nonsense")
        raise AssertionError
    except ColumnError as refusal:
        print(refusal)
    print("=== 自测通过 ===")
