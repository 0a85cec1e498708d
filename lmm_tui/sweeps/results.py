"""What came out of a sweep: its trials as rows, the best, and the steps that pruning saved."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from lmm_tui.engine.run.reader import Reader, RunView
from lmm_tui.engine.run.run_records import ACTIVE_STATES
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.metric_titles import title_of
from lmm_tui.i18n.number_format import NOTHING, number
from lmm_tui.metrics.values import strict
from lmm_tui.runs.status_text import table_text
from lmm_tui.sweeps.axes import shown
from lmm_tui.sweeps.sweep_plan import SweepFolder, SweepPlan
from lmm_tui.sweeps.trial_store import StoredTrial, TrialStore
from lmm_tui.sweeps.workers import live_workers

HEAD = (mark("TRIAL"), mark("RUN"), mark("ENDED"), mark("STEP"))
WORDS = (mark("cancelled"), mark("diverged"), mark("crashed"), mark("silent"))
NOT_COUNTED = mark("not counted")
"""A trial whose run has ended while no worker was there to see it; the next one counts it."""
STATES = (mark("waiting"), mark("running"), mark("complete"), mark("pruned"), mark("failed"))


def best_trial(trials: Sequence[StoredTrial], *, higher: bool) -> StoredTrial | None:
    """The complete trial with the best value, repetitions left out."""
    found = [
        one for one in trials if one.state == "complete" and one.value is not None and not one.seed
    ]
    return min(found, key=lambda one: -_value(one) if higher else _value(one), default=None)


def sweep_record(folder: SweepFolder) -> dict[str, Any]:
    """The object of `lmm-tui sweep SWEEP --json`."""
    plan = folder.read()
    trials = TrialStore(folder, plan).trials()
    best = best_trial(trials, higher=plan.higher)
    attended = bool(live_workers(folder))
    rows = [_row(folder, trial, attended) for trial in trials]
    ended = [row for row in rows if row["state"] in ("complete", "pruned")]
    seeds = [
        one.value for one in trials if best and one.point == best.point and one.value is not None
    ]
    record = {
        "format": 1,
        "name": plan.name,
        "metric": plan.metric,
        "better": "higher" if plan.higher else "lower",
        "sampler": plan.sampler,
        "pruner": plan.pruner,
        "planned": plan.trials,
        "paused": folder.flagged("paused"),
        "cancelled": folder.flagged("cancelled"),
        "best": None if best is None else best.run,
        "seeds": {
            "count": len(seeds),
            "mean": statistics.fmean(seeds) if seeds else None,
            "deviation": statistics.stdev(seeds) if len(seeds) > 1 else None,
        },
        "steps_done": sum(row["step"] for row in ended),
        "steps_without_pruning": sum(row["total_steps"] for row in ended),
        "trials": rows,
    }
    found: dict[str, Any] = strict(record)
    return found


def sweep_table(record: dict[str, Any], plan: SweepPlan) -> str:
    """The same as text: a line a trial, the best marked, then what was saved."""
    keys = [axis.key for axis in plan.axes]
    better = record["better"] == "higher"
    rows = sorted(record["trials"], key=lambda row: _order(row, better))
    head = (
        *map(tr, HEAD[:2]),
        *(key.rpartition(".")[2] for key in keys),
        title_of(plan.metric),
        *map(tr, HEAD[2:]),
    )
    lines = [head]
    for row in rows:
        sign = "* " if row["run"] and row["run"] == record["best"] else ""
        lines.append(
            (
                f"{row['number']}",
                sign + (row["run"] or NOTHING),
                *(shown(row["point"].get(key)) for key in keys),
                number(row["value"], 3) if row["value"] is not None else NOTHING,
                tr(row["state"]) + (f" ({_ended(row)})" if _ended(row) else ""),
                f"{row['step']}/{row['total_steps']}" if row["total_steps"] else NOTHING,
            )
        )
    text = [table_text(lines, right={0, *range(2, 3 + len(keys)), 4 + len(keys)})]
    done, whole = record["steps_done"], record["steps_without_pruning"]
    if done < whole:
        saved = tr(
            "{done} of {whole} steps trained: {share:.0%} saved",
            done=done,
            whole=whole,
            share=1 - done / whole,
        )
        text.append(saved)
    seeds = record["seeds"]
    if seeds["deviation"] is not None:
        text.append(
            tr(
                "best point with {count} seeds: {mean:.4f} ± {deviation:.4f}",
                count=seeds["count"],
                mean=seeds["mean"],
                deviation=seeds["deviation"],
            )
        )
    return "\n".join(text)


def _row(folder: SweepFolder, trial: StoredTrial, attended: bool) -> dict[str, Any]:
    view = _view(folder.runs_dir / trial.run) if trial.run else None
    status = view.status if view else None
    left = trial.state == "running" and view is not None and view.state not in ACTIVE_STATES
    return {
        "number": trial.number,
        "run": trial.run if status else "",
        "point": trial.point,
        "seed": trial.seed,
        "state": NOT_COUNTED if left and not attended else trial.state,
        "ended": trial.attributes.get("ended", ""),
        "value": trial.value,
        "step": status.step if status else 0,
        "total_steps": status.total_steps if status else 0,
    }


def _view(path: Path) -> RunView | None:
    """None where the trial was stopped before its run began, or that was deleted."""
    try:
        return Reader(path).view
    except LmmError:
        return None


def _ended(row: dict[str, Any]) -> str:
    """How it ended, where its state does not say that."""
    if row["ended"] in ("", "finished", row["state"]):
        return tr("seed +{count}", count=row["seed"]) if row["seed"] else ""
    ended: str = row["ended"]
    return tr(ended)


def _order(row: dict[str, Any], higher: bool) -> tuple[int, float, int]:
    rank = {"complete": 0, "pruned": 1}.get(row["state"], 2)
    value = row["value"] if isinstance(row["value"], float) else 0.0
    return rank, -value if higher else value, row["number"]


def _value(trial: StoredTrial) -> float:
    assert trial.value is not None
    return trial.value


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    from lmm_tui.sweeps.axes import Axis

    with tempfile.TemporaryDirectory() as place:
        made = SweepFolder(Path(place), "demo")
        demo = SweepPlan("demo", {}, (Axis("optim.lr", (1e-3, 3e-3)),), 2)
        made.create(demo)
        print(sweep_table(sweep_record(made), demo))
    print("=== 自测通过 ===")
