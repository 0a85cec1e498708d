"""The queue of a sweep: starts trials where the machine has room, follows them, ends them.

Any number of queues may work on one sweep, on one machine or on several. A queue that was killed
leaves its trials training; the next one takes them over, and resumes those that died with it.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import replace

from lmm_tui.engine.config.resolve import with_changes
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.run_settings import settings_of
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.number_format import number
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.runs import detached
from lmm_tui.sweeps.axes import short
from lmm_tui.sweeps.live_trial import LiveTrial, TrialOutcome
from lmm_tui.sweeps.machine_slots import MachineSlots, Slot
from lmm_tui.sweeps.results import best_trial
from lmm_tui.sweeps.sweep_plan import SweepFolder, SweepPlan
from lmm_tui.sweeps.trial_store import StoredTrial, TrialStore
from lmm_tui.sweeps.workers import beat, sign_off, worker_lives

_LOOK_EVERY_S = 0.5
_BEAT_EVERY_S = 5.0
_MOST_RESUMES = 3
"""How often one trial is resumed after it crashed."""


class SweepQueue:
    """One worker on a sweep."""

    def __init__(self, folder: SweepFolder, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._plan: SweepPlan = folder.read()
        self._store = TrialStore(folder, self._plan)
        self._slots = MachineSlots(str(self._plan.base.get("device", "auto")), self._plan.jobs)
        self._say = say
        self._usual = self._plan.config({}, self._plan.name)
        self._live: dict[int, LiveTrial] = {}
        self._waiting: dict[int, StoredTrial] = {}
        """Trials of ours for which there is no room yet."""
        self._spent = False
        """Whether the sampler finds no point that was not there before."""
        self._started: list[int] = []
        self._worker = f"{socket.gethostname()}-{os.getpid()}"
        self._beaten = 0.0
        self.leaving = False
        """Set to leave without an end of the trials, as on a signal; they train on."""

    def run(self) -> None:
        """Work until every trial has ended, or `leaving` is set."""
        try:
            while not self.leaving and self._turn():
                time.sleep(_LOOK_EVERY_S)
        finally:
            sign_off(self._folder, self._worker)

    def _turn(self) -> bool:
        """One look at everything; whether there is more to do."""
        self._beat()
        detached.reap(self._started)
        cancelled = self._folder.flagged("cancelled")
        if cancelled:
            self._store.cancel_waiting()
            for live in self._live.values():
                live.stop("cancelled")
            for trial in [*self._waiting.values()]:
                self._fail(trial, "cancelled")
        for live in [*self._live.values()]:
            if outcome := live.look():
                self._end(live, outcome)
        self._take_over_orphans()
        for trial in [*self._waiting.values()]:
            self._begin(trial)
        if not (cancelled or self._folder.flagged("paused")):
            while self._start_next():
                pass
        return self._has_more(cancelled)

    def _has_more(self, cancelled: bool) -> bool:
        trials = self._store.trials()
        if any(trial.state in ("running", "waiting") for trial in trials):
            return True
        if cancelled:
            return False
        firsts = [trial for trial in trials if not trial.seed]
        if self._plan.sampler != "grid" and len(firsts) < self._plan.trials and not self._spent:
            return True
        return self._add_seeds(trials)

    def _add_seeds(self, trials: list[StoredTrial]) -> bool:
        """Queue the best point with more seeds, once."""
        best = best_trial(trials, higher=self._plan.higher)
        if best is None or self._plan.seeds < 2:
            return False
        with self._store.alone():
            if any(trial.seed for trial in self._store.trials()):
                return any(one.state in ("running", "waiting") for one in self._store.trials())
            for seed in range(1, self._plan.seeds):
                self._store.repeat(best.point, seed)
        return True

    def _start_next(self) -> bool:
        """Choose a trial where there is room for one; whether one has begun, or failed to."""
        if self._waiting or not self._slots.has_room(self._usual):
            return False
        trial = self._store.claim(self._worker)
        if trial is None:
            self._spent = True
            return False
        self._waiting[trial.number] = trial
        return self._begin(trial)

    def _begin(self, trial: StoredTrial) -> bool:
        """Start a trial that is ours, or resume its run; False where it has to wait for room."""
        run = RunDir(self._folder.runs_dir / trial.run)
        resumes = run.exists()
        try:
            plan = self._plan
            config = (
                settings_of(run) if resumes else plan.config(trial.point, trial.run, trial.seed)
            )
            slot = self._slots.claim(config, self._key(trial.run))
            if slot is None:
                return False
            engine = detached.start(placed(config, slot), run if resumes else None)
        except LmmError as error:
            self._fail(trial, str(error))
            return True
        del self._waiting[trial.number]
        self._started.append(engine.pid)
        self._slots.hand_over(self._key(trial.run), engine.pid)
        self._live[trial.number] = LiveTrial(self._plan, self._store, trial, engine.run)
        self._say_of(trial, tr("resumed") if resumes else tr("started"))
        return True

    def _fail(self, trial: StoredTrial, why: str) -> None:
        self._waiting.pop(trial.number, None)
        self._slots.release(self._key(trial.run))
        self._store.finish(trial.number, "failed", None, why)
        self._say_of(trial, translate_message(why))

    def _end(self, live: LiveTrial, outcome: TrialOutcome) -> None:
        trial = live.trial
        del self._live[trial.number]
        self._slots.release(self._key(trial.run))
        if outcome.state != "crashed":
            self._store.finish(trial.number, outcome.state, outcome.value, outcome.ended)
            known = outcome.value is not None
            value = f", {self._plan.metric} {number(outcome.value)}" if known else ""
            self._say_of(trial, tr(outcome.ended) + value)
        elif live.stopping in ("pruned", "diverged"):
            self._store.finish(trial.number, "pruned", outcome.value, live.stopping)
        elif live.stopping:
            self._fail(trial, live.stopping)
        else:
            self._resume_later(trial)

    def _resume_later(self, trial: StoredTrial) -> None:
        """A trial whose process died is resumed from its last checkpoint, a few times."""
        resumes = int(trial.attributes.get("resumes", 0)) + 1
        if resumes > _MOST_RESUMES:
            self._fail(trial, "crashed")
            return
        self._store.mark(trial.number, resumes=resumes)
        attributes = trial.attributes | {"resumes": resumes}
        self._waiting[trial.number] = replace(trial, attributes=attributes)

    def _take_over_orphans(self) -> None:
        """Trials whose queue is dead are ours now: those that train are followed on."""
        for trial in self._store.trials():
            ours = trial.number in self._live or trial.number in self._waiting
            if trial.state != "running" or ours:
                continue
            if self._lives(str(trial.attributes.get("worker", ""))):
                continue
            with self._store.alone():
                now = self._store.trials()
                same = next(one for one in now if one.number == trial.number)
                if same.attributes.get("worker") != trial.attributes.get("worker"):
                    continue
                self._store.mark(trial.number, worker=self._worker)
            run = RunDir(self._folder.runs_dir / (trial.run or "none"))
            if run.exists():
                self._live[trial.number] = LiveTrial(self._plan, self._store, trial, run)
                self._say_of(trial, tr("taken over"))
            elif trial.run:
                self._waiting[trial.number] = trial
            else:  # Killed between the choice of the point and its name.
                self._store.finish(trial.number, "failed", None, "never started")

    def _beat(self) -> None:
        if time.monotonic() - self._beaten >= _BEAT_EVERY_S:
            self._beaten = time.monotonic()
            beat(self._folder, self._worker)

    def _lives(self, worker: str) -> bool:
        # Ours, but not followed: of an earlier process with the same pid.
        return worker != self._worker and worker_lives(self._folder, worker)

    def _key(self, run: str) -> str:
        return str(self._folder.runs_dir.resolve() / run)

    def _say_of(self, trial: StoredTrial, what: str) -> None:
        self._say(f"{trial.run or trial.number}  {short(trial.point)}  {what}")


def placed(config: RunConfig, slot: Slot) -> RunConfig:
    """The settings of a run in a slot."""
    changes: dict[str, object] = {"device": slot.device}
    if slot.threads is not None and config.train.threads is None:
        changes["train.threads"] = slot.threads
    return with_changes(config, changes)


if __name__ == "__main__":
    print(placed(RunConfig(), Slot("cpu", 2)).train.threads)
    print("=== 自测通过 ===")
