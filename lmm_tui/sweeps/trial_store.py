"""The trials of a sweep, in a journal of Optuna's that several processes and machines append to.

A killed process leaves at most half a line, which the next one that gets the lock removes; the
lock is the kernel's, and ends with its holder. Only this module knows Optuna.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from lmm_tui.guarded_files import open_file
from lmm_tui.sweeps.axes import Axis, SweepError, Value, grid
from lmm_tui.sweeps.sweep_plan import SweepFolder, SweepPlan

State = Literal["waiting", "running", "complete", "pruned", "failed"]

_STATES: Mapping[TrialState, State] = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
_TRIES = 50
"""How often a sampler may propose a point that was there before; then the space is done."""
_FIRST = "first"
_DOUBLE = "double"


@dataclass(frozen=True)
class StoredTrial:
    """A snapshot of one trial."""

    number: int
    point: dict[str, Value]
    state: State
    value: float | None
    attributes: dict[str, Any]
    """`run`, `worker`, `seed`, `ended` and others that the queue keeps."""
    reported: frozenset[int]
    """The positions at which the metric was reported."""

    @property
    def run(self) -> str:
        """The name of its run; empty before it has one."""
        return str(self.attributes.get("run", ""))

    @property
    def seed(self) -> int:
        """What is added to the seed, for a repetition of the best; else 0."""
        return int(self.attributes.get("seed", 0))


class TrialStore:
    """The trials of one sweep."""

    def __init__(self, folder: SweepFolder, plan: SweepPlan) -> None:
        self._folder, self._plan = folder, plan
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        backend = JournalFileBackend(str(folder.journal), _KernelLock(folder))
        try:
            with warnings.catch_warnings(), self.alone():
                warnings.simplefilter("ignore")
                self._storage = JournalStorage(backend)
                self._study = optuna.create_study(
                    study_name=plan.name,
                    storage=self._storage,
                    sampler=_sampler(plan),
                    pruner=_pruner(plan),
                    direction="maximize" if plan.higher else "minimize",
                    load_if_exists=True,
                )
                if plan.sampler == "grid" and not self._study.trials:
                    for point in grid(plan.axes):
                        self._study.enqueue_trial(point)
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise SweepError(
                "{journal}: Optuna {version} cannot read it ({error}); continue "
                "the sweep with the version that began it",
                journal=folder.journal,
                version=optuna.__version__,
                error=error,
            ) from None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Within the block no other queue of this sweep chooses a trial."""
        handle = open_file(self._folder.lock_file, os.O_RDWR | os.O_CREAT, inside=self._folder.path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def trials(self) -> list[StoredTrial]:
        """All trials, by number; proposals that were there before are left out."""
        found = self._study.get_trials(deepcopy=False)
        return [_stored(trial) for trial in found if not trial.user_attrs.get(_DOUBLE)]

    def claim(self, worker: str) -> StoredTrial | None:
        """The next trial, now of that worker; None where there is none to begin."""
        with self.alone():
            trial = self._next_waiting() or self._proposed()
            if trial is None:
                return None
            run = f"{self._plan.name}-{trial.number:03d}"
            trial.set_user_attr("run", run)
            trial.set_user_attr("worker", worker)
            return _stored(self._storage.get_trial(trial._trial_id))

    def mark(self, number: int, **attributes: Any) -> None:
        """Keep attributes with a trial."""
        for key, value in attributes.items():
            self._storage.set_trial_user_attr(self._id(number), key, value)

    def report(self, number: int, position: int, value: float) -> bool:
        """Report the metric at a position of a trial; True where the pruner would end it."""
        trial_id = self._id(number)
        self._storage.set_trial_intermediate_value(trial_id, position, value)
        return self._study.pruner.prune(self._study, self._storage.get_trial(trial_id))

    def finish(
        self,
        number: int,
        state: Literal["complete", "pruned", "failed"],
        value: float | None,
        ended: str,
    ) -> None:
        """End a trial, with a few words about how."""
        self.mark(number, ended=ended)
        states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
        kept = value if state == "complete" or value is not None else None
        values = None if state == "failed" or kept is None else [kept]
        self._storage.set_trial_state_values(
            self._id(number), states.get(state, TrialState.FAIL), values
        )

    def cancel_waiting(self, numbers: Sequence[int] | None = None) -> int:
        """End trials that have not begun, all or those of some numbers; returns how many."""
        waiting = [trial for trial in self.trials() if trial.state == "waiting"]
        chosen = [one for one in waiting if numbers is None or one.number in numbers]
        for trial in chosen:
            self.finish(trial.number, "failed", None, "cancelled")
        return len(chosen)

    def put_first(self, number: int) -> None:
        """Begin a waiting trial before the others."""
        self.mark(number, **{_FIRST: time.time()})

    def repeat(self, point: Mapping[str, Value], seed: int) -> None:
        """Add a trial of a point with another seed."""
        self._study.enqueue_trial(dict(point), user_attrs={"seed": seed})

    def _next_waiting(self) -> optuna.Trial | None:
        waiting = [one for one in self.trials() if one.state == "waiting"]
        waiting.sort(key=lambda one: (-one.attributes.get(_FIRST, 0.0), one.number))
        for one in waiting:
            trial_id = self._id(one.number)
            if self._storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                trial = optuna.Trial(self._study, trial_id)
                self._suggest(trial)
                return trial
        return None

    def _proposed(self) -> optuna.Trial | None:
        """A new point of the sampler, while fewer trials than planned have begun."""
        if self._plan.sampler == "grid":
            return None
        known = [trial for trial in self.trials() if not trial.seed]
        if len(known) >= self._plan.trials:
            return None
        for _ in range(_TRIES):
            trial = self._study.ask()
            point = self._suggest(trial)
            if all(point != other.point for other in known):
                return trial
            trial.set_user_attr(_DOUBLE, True)
            self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        return None

    def _suggest(self, trial: optuna.Trial) -> dict[str, Value]:
        return {axis.key: _suggested(trial, axis) for axis in self._plan.axes}

    def _id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)


class _KernelLock(JournalFileOpenLock):
    """A lock on the journal that dies with its holder, and mends what a killed holder left."""

    def __init__(self, folder: SweepFolder) -> None:
        self._folder = folder
        self._path = folder.path / "journal.lock"
        self._handle = -1

    def acquire(self) -> bool:
        self._handle = open_file(self._path, os.O_RDWR | os.O_CREAT, inside=self._folder.path)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        _cut_half_line(self._folder)
        return True

    def release(self) -> None:
        os.close(self._handle)


def _cut_half_line(folder: SweepFolder) -> None:
    with contextlib.suppress(FileNotFoundError):
        handle = os.fdopen(open_file(folder.journal, os.O_RDWR, inside=folder.path), "rb+")
        with handle:
            end = handle.seek(0, os.SEEK_END)
            size = end
            while size:
                begin = max(size - 4096, 0)
                handle.seek(begin)
                at = handle.read(size - begin).rfind(b"\n")
                if at >= 0:
                    size = begin + at + 1
                    break
                size = begin
            if size < end:
                handle.truncate(size)


def _suggested(trial: optuna.Trial, axis: Axis) -> Value:
    if axis.choices:
        chosen = trial.suggest_categorical(axis.key, axis.choices)
        assert chosen is not None
        return chosen
    if axis.whole:
        return trial.suggest_int(axis.key, int(axis.low), int(axis.high), log=axis.log)
    return trial.suggest_float(axis.key, axis.low, axis.high, log=axis.log)


def _stored(trial: FrozenTrial) -> StoredTrial:
    return StoredTrial(
        trial.number,
        trial.params or dict(trial.system_attrs.get("fixed_params", {})),
        _STATES[trial.state],
        trial.value if trial.values else None,
        dict(trial.user_attrs),
        frozenset(trial.intermediate_values),
    )


def _sampler(plan: SweepPlan) -> optuna.samplers.BaseSampler:
    if plan.sampler == "tpe":
        # Of trials that run at the same time it proposes different ones.
        return optuna.samplers.TPESampler(constant_liar=True, n_startup_trials=min(10, plan.trials))
    return optuna.samplers.RandomSampler()


def _pruner(plan: SweepPlan) -> optuna.pruners.BasePruner:
    if plan.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4)
    if plan.pruner == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=100)
    if plan.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=100, max_resource=1000)
    return optuna.pruners.NopPruner()


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as place:
        demo = SweepPlan("demo", {}, (Axis("optim.lr", (1e-3, 3e-3)),), 2)
        made = SweepFolder(Path(place), "demo")
        made.create(demo)
        store = TrialStore(made, demo)
        store.put_first(1)
        first = store.claim("me")
        assert first is not None and first.point == {"optim.lr": 3e-3}
        store.report(first.number, 500, 4.0)
        store.finish(first.number, "complete", 3.5, "finished")
        with made.journal.open("ab") as journal:
            journal.write(b'{"half')
        print(TrialStore(made, demo).claim("me"), store.trials()[1].state)
    print("=== 自测通过 ===")
