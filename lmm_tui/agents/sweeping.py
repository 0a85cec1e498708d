"""Sweeps for an agent: make one and start its queue, look at it, cancel it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmm_tui.agents.run_access import AgentError
from lmm_tui.agents.steering import Settings, Steering

MOST_TRIALS = 200


class Sweeping:
    """The sweeps of one folder of runs."""

    def __init__(self, steering: Steering) -> None:
        self._steering = steering
        self._runs_dir = steering.runs_dir

    def start(
        self,
        name: str,
        vary: Mapping[str, str],
        settings: Settings,
        like: str,
        trials: int | None,
        prune: str,
        by: str,
    ) -> dict[str, Any]:
        """Make a sweep over `vary` and start its queue, which outlives this process."""
        from lmm_tui.sweeps.axes import settings as as_settings
        from lmm_tui.sweeps.axes import split_assignments
        from lmm_tui.sweeps.steer_sweep import start_worker
        from lmm_tui.sweeps.sweep_plan import PRUNERS, SweepWishes, choose, new_sweep

        if prune not in PRUNERS:
            raise AgentError("prune: choose from {choices}", choices=[*PRUNERS])
        axes, single = split_assignments([f"{key}={text}" for key, text in vary.items()])
        if single:
            raise AgentError("{what}: one value; put it into settings", what=single[0])
        for axis in axes:
            for value in axis.choices or (axis.low,):
                self._steering.check(as_settings({axis.key: value}))
        sampler, count = choose(tuple(axes), trials, None)
        if count > MOST_TRIALS:
            raise AgentError("trials: at most {most} (got {count})", most=MOST_TRIALS, count=count)
        base = self._steering.settings(settings, like, "", "")
        wishes = SweepWishes(trials, pruner=prune)
        folder = new_sweep(
            base.model_copy(update={"runs_dir": str(self._runs_dir)}), tuple(axes), wishes, name
        )
        (folder.path / "asked-by").write_text(by + "\n", encoding="utf-8")
        self._steering.adopt(start_worker(folder))
        return {"sweep": name, "trials": count, "sampler": sampler, "message": "queue started"}

    def look(self, name: str) -> dict[str, Any]:
        """The trials of a sweep, the best of them, and the steps that pruning saved."""
        from lmm_tui.sweeps.results import sweep_record
        from lmm_tui.sweeps.sweep_plan import SweepFolder

        record = sweep_record(SweepFolder(self._runs_dir, name))
        total = len(record["trials"])
        record["trials"] = record["trials"][:MOST_TRIALS]
        return record | {"trials_total": total}

    def cancel(self, name: str) -> dict[str, Any]:
        """Begin no more trials and stop those that train, with a checkpoint."""
        from lmm_tui.sweeps.sweep_plan import SweepFolder
        from lmm_tui.sweeps.trial_store import TrialStore

        folder = SweepFolder(self._runs_dir, name)
        plan = folder.read()
        folder.flag("cancelled")
        left_out = TrialStore(folder, plan).cancel_waiting()
        return {"sweep": name, "left_out": left_out, "message": "cancelled"}


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    from lmm_tui.agents.run_access import RunAccess

    with tempfile.TemporaryDirectory() as folder:
        sweeping = Sweeping(Steering(RunAccess(Path(folder))))
        try:
            sweeping.start(
                "night", {"data.source": '"/etc/a","/etc/b"'}, {}, "", None, "none", "me"
            )
            raise AssertionError
        except AgentError as refusal:
            print(refusal)
    print("=== 自测通过 ===")
