"""What can be asked of a sweep while its queue works, or before: the command line, the queue screen
and agents ask it here. Each call returns a sentence about what it did.
"""

from __future__ import annotations

import subprocess

from lmm_tui.child_process import start_python
from lmm_tui.engine.run.reader import Reader
from lmm_tui.i18n.language import tr
from lmm_tui.sweeps.axes import SweepError
from lmm_tui.sweeps.results import best_trial
from lmm_tui.sweeps.sweep_plan import SweepFolder
from lmm_tui.sweeps.trial_store import StoredTrial, TrialStore
from lmm_tui.sweeps.workers import live_workers

_WORKER = "from lmm_tui.cli.main import main; main()"
MOST_SEEDS = 100


class SweepSteering:
    """Steers one sweep."""

    def __init__(self, folder: SweepFolder) -> None:
        """Raises SweepError where there is no such sweep."""
        self._folder = folder
        self._plan = folder.read()
        self._store = TrialStore(folder, self._plan)

    def pause(self, on: bool = True) -> str:
        """Begin no more trials; those that train go on."""
        self._folder.flag("paused", on)
        name = self._plan.name
        return tr("{name} is paused", name=name) if on else tr("{name} continues", name=name)

    def cancel(self) -> str:
        """Begin no more trials, and stop those that train with a checkpoint."""
        self._folder.flag("cancelled")
        count = self._store.cancel_waiting()
        return tr("{name} is cancelled; {count} trials had not begun", name=self._plan.name,
                  count=count)  # fmt: skip

    def put_first(self, number: int) -> str:
        """Begin a waiting trial before the others."""
        self._waiting(number)
        self._store.put_first(number)
        return tr("trial {number} begins next", number=number)

    def drop(self, number: int) -> str:
        """Leave a waiting trial out, or stop one that trains."""
        trial = next((one for one in self._store.trials() if one.number == number), None)
        if trial is None or trial.state != "running":
            self._waiting(number)
            self._store.cancel_waiting([number])
            return tr("trial {number} is left out", number=number)
        reply = Reader(self._folder.runs_dir / trial.run).send(
            "stop", by=f"sweep {self._plan.name}"
        )
        return reply.message

    def more_seeds(self, count: int) -> str:
        """Queue the best point so many times more, each with a seed of its own."""
        if not 1 <= count <= MOST_SEEDS:
            raise SweepError("seeds: 1 to {most} (got {count})", most=MOST_SEEDS, count=count)
        best = self.best()
        with self._store.alone():
            taken = max(one.seed for one in self._store.trials() if one.point == best.point)
            for seed in range(taken + 1, taken + 1 + count):
                self._store.repeat(best.point, seed)
        # The queue of a sweep that has ended, or was cancelled, would not begin them.
        self._folder.flag("cancelled", False)
        return tr("{run}: {count} more seeds are queued", run=best.run, count=count)

    def best(self) -> StoredTrial:
        """The best trial that is complete; SweepError where none is."""
        found = best_trial(self._store.trials(), higher=self._plan.higher)
        if found is None:
            raise SweepError("{name}: no trial is complete yet", name=self._plan.name)
        return found

    def start_worker(self) -> int:
        """Work on the sweep in a process that outlives this one; returns its id."""
        if workers := live_workers(self._folder):
            raise SweepError(
                "{name}: {worker} works on it already", name=self._plan.name, worker=workers[0]
            )
        self._folder.flag("paused", False)
        return start_worker(self._folder)

    def _waiting(self, number: int) -> None:
        """SweepError where this trial does not wait."""
        waiting = [one.number for one in self._store.trials() if one.state == "waiting"]
        if number not in waiting:
            raise SweepError(
                "{number}: no trial of {name} that waits; these do: {waiting}",
                number=number,
                name=self._plan.name,
                waiting=", ".join(map(str, waiting)) or "none",
            )


def start_worker(folder: SweepFolder) -> int:
    """Start `lmm-tui worker` in the background; returns its id."""
    runs_dir = str(folder.runs_dir)
    arguments = ["-c", _WORKER, "worker", folder.path.name, "--runs-dir", runs_dir]
    quiet = subprocess.DEVNULL
    return start_python(arguments, stdin=quiet, stdout=quiet, stderr=quiet).pid


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    from lmm_tui.sweeps.axes import Axis
    from lmm_tui.sweeps.sweep_plan import SweepPlan

    with tempfile.TemporaryDirectory() as place:
        made = SweepFolder(Path(place), "demo")
        made.create(SweepPlan("demo", {}, (Axis("optim.lr", (1e-3, 3e-3)),), 2))
        steering = SweepSteering(made)
        print(steering.pause(), steering.put_first(1), steering.drop(0), sep="\n")
        try:
            steering.more_seeds(2)
            raise AssertionError
        except SweepError as refusal:
            print(refusal)
    print("=== 自测通过 ===")
