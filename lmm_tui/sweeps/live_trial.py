"""One trial that trains: follows its run, reports the metric, stops it where it is lost.

The run is an ordinary one in a process of its own; all that is known of it is read from its
directory, so a queue can take over the trials of one that was killed.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import Literal

from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import ACTIVE_STATES
from lmm_tui.metrics.series.series import Series
from lmm_tui.runs.run_verdict import verdict_on
from lmm_tui.sweeps.sweep_plan import SweepPlan
from lmm_tui.sweeps.trial_store import StoredTrial, TrialStore

LOST = frozenset({"diverged", "NaN or Inf"})
"""Verdicts after which a trial trains for nothing."""

_SILENT_S = 120.0
"""So long a run of another machine may be silent before it is taken for dead."""
WHOLE = 1000
"""The position of the end of a run: what is reported lies at thousandths of its length."""


@dataclass(frozen=True)
class TrialOutcome:
    """How a trial ended."""

    state: Literal["complete", "pruned", "failed", "crashed"]
    value: float | None
    ended: str


class LiveTrial:
    """A trial of a sweep whose run is there."""

    def __init__(self, plan: SweepPlan, store: TrialStore, trial: StoredTrial, run: RunDir) -> None:
        self._plan, self._store = plan, store
        self.trial = trial
        self.run = run
        self._session = Reader(run.path)
        self._told = set(trial.reported)
        self._seen = 0
        self.stopping: str = str(trial.attributes.get("stopping", ""))
        """Why the queue stops it: `pruned`, `diverged` or `cancelled`."""

    def look(self) -> TrialOutcome | None:
        """Report what is new; how the trial ended, or None while it trains."""
        self._session.poll()
        view = self._session.view
        found = self._session.series.get(self._plan.metric)
        if found is not None:
            self._report(found)
        if view.state in ACTIVE_STATES:
            if not self.stopping and self._is_lost():
                self.stop("diverged")
            return None
        if view.state == "stale":
            silent = time.time() - max(view.status.heartbeat, view.info.started)
            return TrialOutcome("crashed", None, "silent") if silent > _SILENT_S else None
        if view.state == "crashed":
            return TrialOutcome("crashed", None, "crashed")
        return self._end(view.state, found)

    def stop(self, why: str) -> None:
        """Ask the run to stop with a checkpoint; it answers when it has, so a thread waits."""
        if self.stopping:
            return
        self.stopping = why
        self._store.mark(self.trial.number, stopping=why)
        by = f"sweep {self._plan.name}"
        threading.Thread(
            target=self._session.send, args=("stop",), kwargs={"by": by}, daemon=True
        ).start()

    def _report(self, found: Series) -> None:
        """New values, at thousandths of the run, so that trials of other lengths compare."""
        total = self._session.view.status.total_steps
        steps, values = found.steps, found.values
        for at in range(self._seen, len(values)):
            value = float(values[at])
            position = round(WHOLE * int(steps[at]) / total) if total else 0
            if not math.isfinite(value) or not position or position in self._told:
                continue
            self._told.add(position)
            prunes = self._store.report(self.trial.number, position, value)
            # A repetition of the best is never pruned: it is there for its last value.
            if prunes and not self.trial.seed and position < WHOLE:
                self.stop("pruned")
        self._seen = len(values)

    def _is_lost(self) -> bool:
        view = self._session.view
        return verdict_on(self.run, view.status, view.state).headline in LOST

    def _end(self, state: str, found: Series | None) -> TrialOutcome:
        best = found.best("higher" if self._plan.higher else "lower") if found else None
        value = best.value if best else None
        if self.stopping in ("pruned", "diverged"):
            return TrialOutcome("pruned", value, self.stopping)
        if self.stopping:
            return TrialOutcome("failed", None, self.stopping)
        if state == "failed":
            return TrialOutcome("failed", None, self._session.view.status.error or "failed")
        if state == "stopped":
            return TrialOutcome("pruned", value, "stopped")
        if self._is_lost():
            return TrialOutcome("pruned", value, "diverged")
        if value is None:
            return TrialOutcome("failed", None, f"no {self._plan.metric} was measured")
        return TrialOutcome("complete", value, "finished")


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    from lmm_tui.engine.run.run_records import RunInfo, RunStatus
    from lmm_tui.sweeps.axes import Axis
    from lmm_tui.sweeps.sweep_plan import SweepFolder

    with tempfile.TemporaryDirectory() as place:
        folder = SweepFolder(Path(place), "demo")
        plan = SweepPlan("demo", {}, (Axis("optim.lr", (1e-3, 3e-3)),), 2)
        folder.create(plan)
        store = TrialStore(folder, plan)
        claimed = store.claim("me")
        assert claimed is not None
        done = RunDir(Path(place) / claimed.run)
        done.create()
        done.write_info(RunInfo(claimed.run, "pretrain", 0.0, 0.0, "box", 1, 0.0))
        done.write_status(RunStatus("finished", 10, 10))
        done.metrics.write_text('{"step": 5, "val/loss": 4.0}\n{"step": 10, "val/loss": 3.0}\n')
        outcome = LiveTrial(plan, store, claimed, done).look()
        print(outcome, store.trials()[0].reported)
        assert outcome == TrialOutcome("complete", 3.0, "finished")
    print("=== 自测通过 ===")
