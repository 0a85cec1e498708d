"""Sweeps and their trials as rows of the queue screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmm_tui.cockpit.widgets.table import TableColumn, TableRow
from lmm_tui.i18n.language import listed, mark, tr
from lmm_tui.i18n.number_format import NOTHING, number

if TYPE_CHECKING:
    from lmm_tui.sweeps.sweep_plan import SweepPlan

COLUMNS = (
    TableColumn("name", mark("sweep and trial"), 20, grows=True),
    TableColumn("state", mark("state"), 14),
    TableColumn("point", mark("settings"), 20, grows=True, rank=1),
    TableColumn("step", mark("step"), 12, right=True, rank=2),
    TableColumn("value", mark("best"), 9, right=True),
)
_NOT_COUNTED = "not counted"
_STYLES = {
    "running": "$success",
    "pruned": "$warning",
    _NOT_COUNTED: "$warning",
    "failed": "$error",
    "waiting": "$accent",
}


@dataclass(frozen=True)
class TrialView:
    """One trial; `last` is the last of its sweep."""

    number: int
    run: str
    point: str
    state: str
    ended: str
    step: str
    value: float | None
    best: bool
    last: bool


@dataclass(frozen=True)
class SweepView:
    """One sweep; the texts are in the language of the interface."""

    name: str
    space: str
    state: str
    summary: str
    saved: str
    best: str
    value: float | None
    done: int
    planned: int
    paused: bool
    trials: tuple[TrialView, ...]

    @classmethod
    def of(cls, record: Mapping[str, Any], plan: SweepPlan, workers: tuple[str, ...]) -> SweepView:
        """From the record of `lmm-tui sweep --json`."""
        rows = record["trials"]
        ended = [row for row in rows if row["state"] not in ("running", "waiting", _NOT_COUNTED)]
        counts = Counter(_counted(row["state"]) for row in rows)
        best = next((row for row in rows if row["run"] and row["run"] == record["best"]), None)
        done, whole = record["steps_done"], record["steps_without_pruning"]
        saved = ""
        if done < whole:
            saved = tr("{done} of {whole} steps trained: {share:.0%} saved", done=done, whole=whole,
                       share=1 - done / whole)  # fmt: skip
        return cls(
            record["name"],
            f"{plan.sampler}, {listed([axis.key for axis in plan.axes])}",
            _state(record, len(ended) == max(len(rows), record["planned"]), workers),
            ", ".join(f"{count} {state}" for state, count in counts.items()),
            saved,
            record["best"] or "",
            best["value"] if best else None,
            len(ended),
            max(len(rows), record["planned"]),
            record["paused"],
            tuple(_trial(row, record, row is rows[-1]) for row in rows),
        )


def head_row(sweep: SweepView, *, folded: bool) -> TableRow:
    sign = "▸" if folded else "▾"
    return TableRow(
        sweep.name,
        {
            "name": (f"{sign} {sweep.name}", "bold"),
            "state": sweep.state,
            "point": (sweep.space, "$foreground 70%"),
            "step": f"{sweep.done}/{sweep.planned}",
            "value": (_value(sweep.value), "bold"),
        },
    )


def trial_row(sweep: SweepView, trial: TrialView) -> TableRow:
    branch = "└─ " if trial.last else "├─ "
    state = trial.ended if trial.ended else tr(trial.state)
    return TableRow(
        f"{sweep.name}\0{trial.number}",
        {
            "name": branch + (trial.run or f"{trial.number}"),
            "state": (state, _STYLES.get(trial.state, "")),
            "point": trial.point,
            "step": trial.step,
            "value": (_value(trial.value), "bold $success" if trial.best else ""),
        },
    )


def _trial(row: Mapping[str, Any], record: Mapping[str, Any], last: bool) -> TrialView:
    from lmm_tui.sweeps.axes import short

    point = short(row["point"])
    if row["seed"]:
        point += f", {tr('seed +{count}', count=row['seed'])}"
    ended = row["ended"]
    return TrialView(
        row["number"],
        row["run"],
        point,
        row["state"],
        tr(ended) if ended and ended != "finished" else "",
        f"{row['step']}/{row['total_steps']}" if row["total_steps"] else "",
        row["value"] if isinstance(row["value"], float) else None,
        bool(row["run"]) and row["run"] == record["best"],
        last,
    )


def _counted(state: str) -> str:
    if state != _NOT_COUNTED:
        return tr(state)
    return tr("not counted: the run ended without a worker; W starts one")


def _state(record: Mapping[str, Any], ended: bool, workers: tuple[str, ...]) -> str:
    if record["cancelled"]:
        return tr("cancelled")
    if ended:
        return tr("ended")
    if record["paused"]:
        return tr("paused")
    if workers:
        count = len(workers)
        return tr("1 worker") if count == 1 else tr("{count} workers", count=count)
    return tr("no worker")


def _value(value: float | None) -> str:
    return NOTHING if value is None else number(value, 4)


if __name__ == "__main__":
    trial = TrialView(0, "night-000", "lr 0.001", "complete", "", "10/10", 2.5, True, True)
    sweep = SweepView("night", "grid, lr", "ended", "", "", "night-000", 2.5, 1, 1, False, (trial,))
    print(head_row(sweep, folded=False), trial_row(sweep, trial), sep="\n")
    print("=== 自测通过 ===")
