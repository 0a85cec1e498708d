"""The columns of a list of runs: facts of a run by name, and its settings by dotted key.

A column has a plain value, for filters and sorting, and a text. Settings are read only where a
column asks for them: config.toml of 2,000 runs takes 0.3 s. So are the best validation loss and the
curve, which `RunDetails` reads a little at a time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.number_format import NOTHING, count, duration, number
from lmm_tui.metrics.health.verdict import LEVELS
from lmm_tui.runs.compared_settings import default_of, differing, setting_text
from lmm_tui.runs.run_details import RunDetails, RunDigest
from lmm_tui.runs.run_list import BROKEN, ListedRun
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

DIGESTED: Mapping[str, Callable[[RunDigest], Value]] = {
    "best": lambda digest: digest.best,
    "best_step": lambda digest: digest.best_step,
    "curve": lambda digest: " ".join("nan" if at is None else f"{at:.4g}" for at in digest.curve),
}
"""Columns that need all metrics of a run; a curve is its values, one after the other."""

LARGEST_FIRST = frozenset({"started", "health", "step", "tokens", "speed", "seconds", "parameters"})
"""Columns that a person wants to see from the largest value down."""

_TEXTS: Mapping[str, Callable[[ListedRun], str]] = {
    "state": lambda run: tr(run.summary.state),
    "health": lambda run: verdict_text(run.summary.verdict),
    "step": lambda run: steps_text(run.summary),
    "seconds": lambda run: duration(run.summary.info.seconds_at(run.summary.status.heartbeat)),
    "started": lambda run: tr("{time} ago", time=duration(time.time() - run.summary.info.started)),
}
_COUNTS = ("parameters", "tokens", "speed")
_LOSSES = ("loss", "val", "best")


class ColumnError(LmmError):
    """A column that no run of the list has."""


class RunColumns:
    """The columns of some runs; those with broken files have only a name and a state."""

    def __init__(self, runs: Sequence[ListedRun], details: RunDetails) -> None:
        self._runs = runs
        self._details = details

    def known(self, name: str) -> str:
        """The full name of a column; ColumnError where there is none.

        A setting may be named by its last part, as `lr`.
        """
        if name in FACTS or name in DIGESTED or name in self._keys:
            return name
        found = [key for key in self._keys if key.endswith(f".{name}")]
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
            facts=[*FACTS, *DIGESTED],
        )

    def chosen(self, names: Iterable[str], shown: Sequence[ListedRun] | None = None) -> list[str]:
        """Full names, `differing` replaced by the settings in which the `shown` runs differ."""
        found: list[str] = []
        for name in names:
            found += self.differing(shown) if name == DIFFERING else [self.known(name)]
        return [*dict.fromkeys(found)]

    def differing(self, shown: Sequence[ListedRun] | None = None) -> list[str]:
        """The first settings in which runs differ, logs of other programs left out."""
        runs = self._runs if shown is None else shown
        settings = [one for run in runs if (one := self._settings(run))]
        return differing(settings)[:MOST_DIFFERING] if settings else []

    def value(self, run: ListedRun, column: str) -> Value:
        """Of a column by its full name; None where a run does not have it."""
        if fact := FACTS.get(column):
            return fact(run)
        if digested := DIGESTED.get(column):
            return digested(self._details.digest(run))
        settings = self._settings(run)
        found = settings[column] if column in settings else default_of(column) if settings else None
        if isinstance(found, str | int | float | bool | None):
            return found
        return str(found) if found else None

    def text(self, run: ListedRun, column: str) -> str:
        """The value as it is shown."""
        value = self.value(run, column)
        if value is None or value == "":
            return NOTHING
        if column in _TEXTS:
            return _TEXTS[column](run)
        if column in _COUNTS:
            return count(float(value))
        if column in _LOSSES:
            return number(float(value), 3)
        changed = self._details.changed(run)
        if column in changed and column not in FACTS:
            return f"{setting_text(changed[column])}→{setting_text(value)}"
        return setting_text(value)

    def version(self, run: ListedRun) -> object:
        """Another one whenever a column of the run, other than its age, has another text."""
        return self._details.digest(run), self._settings(run)

    def sorted(self, runs: Sequence[ListedRun], column: str, falling: bool) -> list[ListedRun]:
        """Numbers before texts; runs without a value, or with NaN, come last either way."""
        numbers: list[tuple[float, ListedRun]] = []
        texts: list[tuple[str, ListedRun]] = []
        rest = []
        for run in runs:
            value = None if run.summary.state == BROKEN else self._order(run, column)
            if isinstance(value, str) and value:
                texts.append((value.casefold(), run))
            elif isinstance(value, int | float) and not math.isnan(value):
                numbers.append((value, run))
            else:
                rest.append(run)
        numbers.sort(key=lambda pair: pair[0], reverse=falling)
        texts.sort(key=lambda pair: pair[0], reverse=falling)
        return [run for _, run in numbers] + [run for _, run in texts] + rest

    def read_digests(self, names: Iterable[str]) -> None:
        """Read all that the columns need; may take minutes for long runs, the first time."""
        if any(name.removeprefix("-") in DIGESTED for name in names):
            self._details.read_on(self._runs)

    def _order(self, run: ListedRun, column: str) -> Value:
        """What runs are sorted by: the verdict by how bad it is, else the value."""
        if column == "health":
            return LEVELS.index(run.summary.verdict.level)
        return self.value(run, column)

    def _settings(self, run: ListedRun) -> dict[str, Any]:
        return self._details.settings(run)

    @cached_property
    def _keys(self) -> dict[str, None]:
        """All settings that any run has."""
        return dict.fromkeys(key for run in self._runs for key in self._settings(run))


if __name__ == "__main__":
    from pathlib import Path

    from lmm_tui.engine.run.run_records import RunInfo, RunStatus
    from lmm_tui.runs.status_text import RunSummary

    info = RunInfo("base", "sft", 0, 0.0, "box", 1, 0.0)
    status = RunStatus("finished", 10, 10, loss=2.5)
    demo = ListedRun(RunSummary(Path("base"), info, status, "finished"))
    columns = RunColumns([demo], RunDetails(Path()))
    print([columns.text(demo, name) for name in ("name", "stage", "step", "loss", "val")])
    try:
        columns.known("nonsense")
        raise AssertionError
    except ColumnError as refusal:
        print(refusal)
    print("=== 自测通过 ===")
