"""A sweep on disk: `.sweeps/NAME/` in the runs folder, with what it is and what was asked of it.

`sweep.json` is written once. `paused` and `cancelled` are empty files that a queue looks for.
The trials are in Optuna's journal beside them (`trial_store`).
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.guarded_files import make_private, read_text, remove, replace_text
from lmm_tui.message import os_reason
from lmm_tui.metrics.names import VAL_LOSS
from lmm_tui.sweeps.axes import Axis, SweepError, check, settings, space_size

FOLDER = ".sweeps"
FORMAT = 1
MOST_TRIALS = 10_000

Sampler = Literal["grid", "random", "tpe"]
Pruner = Literal["none", "median", "halving", "hyperband"]
SAMPLERS: tuple[str, ...] = get_args(Sampler)
PRUNERS: tuple[str, ...] = get_args(Pruner)

_NAME = re.compile(r"[^\W_][\w.+-]{0,79}")


@dataclass(frozen=True)
class SweepPlan:
    """`sweep.json`."""

    name: str
    base: dict[str, Any]
    """The settings that all trials share."""
    axes: tuple[Axis, ...]
    trials: int
    sampler: str = "grid"
    pruner: str = "none"
    seeds: int = 1
    """With how many seeds the best point is trained."""
    metric: str = VAL_LOSS
    higher: bool = False
    """Whether a higher metric is better."""
    jobs: int = 1
    """Trials at once on the processors of one machine; a GPU has one."""
    format: int = field(default=FORMAT)

    def config(self, point: dict[str, Any], run: str, seed: int = 0) -> RunConfig:
        """The settings of the run of one trial; `seed` is added to that of the sweep."""
        base = {**self.base, "name": run, "group": self.name}
        config = resolve(assignments=settings(point), base=base)
        if not seed:
            return config
        return resolve(
            assignments={"train.seed": config.train.seed + seed},
            base=config.model_dump(exclude_none=True),
        )


class SweepFolder:
    """The folder of one sweep."""

    def __init__(self, runs_dir: Path, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise SweepError(
                "{name!r}: the name of a sweep starts with a letter or digit and "
                "has at most 80 letters, digits, '.', '_', '+' or '-'",
                name=name[:80],
            )
        self.runs_dir = runs_dir
        self.path = runs_dir / FOLDER / name
        self.plan_file = self.path / "sweep.json"
        self.journal = self.path / "trials.journal"
        self.lock_file = self.path / "sweep.lock"

    def create(self, plan: SweepPlan) -> None:
        """Write a new sweep; SweepError if there is one of that name."""
        if self.plan_file.exists():
            raise SweepError(
                "{name}: there is a sweep of that name; go on with `lmm-tui "
                "worker {name}`, or choose another --name",
                name=plan.name,
            )
        taken = f"{plan.name}-000"
        if (self.runs_dir / taken).exists():
            raise SweepError(
                "{taken}: there is a run of that name; choose another --name", taken=taken
            )
        try:
            for folder in (self.runs_dir, self.path.parent, self.path):
                make_private(folder)
            text = json.dumps(asdict(plan), ensure_ascii=False, indent=1)
            replace_text(self.plan_file, text + "\n", self.path)
        except OSError as error:
            raise SweepError(
                "{path}: cannot be written ({error})", path=self.path, error=os_reason(error)
            ) from None

    def read(self) -> SweepPlan:
        """Raises SweepError where there is none, or one that this version cannot read."""
        try:
            found = json.loads(read_text(self.plan_file, self.path))
        except (FileNotFoundError, NotADirectoryError):
            raise SweepError(
                "{name}: no such sweep in {runs_dir}; `lmm-tui sweep` makes one",
                name=self.path.name,
                runs_dir=self.runs_dir,
            ) from None
        except (OSError, ValueError, RecursionError):
            raise SweepError(
                "{plan_file}: damaged; start the sweep anew", plan_file=self.plan_file
            ) from None
        if isinstance(found, dict) and found.get("format") != FORMAT:
            raise SweepError(
                "{plan_file}: of format {found}, this lmm-tui reads {format}; "
                "continue it with the version that began it",
                plan_file=self.plan_file,
                found=str(found.get("format"))[:20],
                format=FORMAT,
            )
        try:
            axes = tuple(
                Axis(**axis | {"choices": tuple(axis["choices"])}) for axis in found.pop("axes")
            )
            return SweepPlan(axes=axes, **found)
        except (TypeError, KeyError, AttributeError, ValueError):
            raise SweepError(
                "{plan_file}: damaged; start the sweep anew", plan_file=self.plan_file
            ) from None

    def flagged(self, flag: Literal["paused", "cancelled"]) -> bool:
        return (self.path / flag).exists()

    def flag(self, flag: Literal["paused", "cancelled"], on: bool = True) -> None:
        """Ask every queue of the sweep for it, or take that back."""
        if on:
            replace_text(self.path / flag, "", self.path)
        elif self.flagged(flag):
            remove(self.path / flag, self.path)


@dataclass(frozen=True)
class SweepWishes:
    """How a space is swept, as far as a person says; see `SweepPlan`."""

    trials: int | None = None
    sampler: str | None = None
    pruner: str = "none"
    seeds: int = 1
    metric: str = VAL_LOSS
    higher: bool = False
    jobs: int = 1


def new_sweep(
    config: RunConfig, axes: tuple[Axis, ...], wishes: SweepWishes, name: str = ""
) -> SweepFolder:
    """Write a new sweep over `axes` from the settings of `config`.

    Its name is that of the configuration, or the time. Raises SweepError or ConfigError where the
    space, or a value in it, cannot be.
    """
    sampler, trials = choose(axes, wishes.trials, wishes.sampler)
    check(axes, config)
    name = name or config.name or f"sweep-{time.strftime('%m%d-%H%M%S')}"
    base = config.model_dump(exclude_none=True)
    for key in ("name", "group"):
        base.pop(key, None)
    plan = SweepPlan(
        name,
        base,
        axes,
        trials,
        sampler,
        wishes.pruner,
        wishes.seeds,
        wishes.metric,
        wishes.higher,
        wishes.jobs,
    )
    folder = SweepFolder(Path(config.runs_dir), name)
    folder.create(plan)
    return folder


def choose(
    axes: tuple[Axis, ...], trials: int | None, sampler: str | None
) -> tuple[Literal["grid", "random", "tpe"], int]:
    """Sampler and number of trials of a space; SweepError where they do not go together."""
    if not axes:
        raise SweepError(
            "nothing to sweep; give a setting several values, such as --set optim.lr=1e-3,3e-3, "
            "or a range, such as --set 'optim.lr=1e-4..1e-2 log'"
        )
    ranges = [axis.key for axis in axes if axis.is_range]
    size = space_size(axes)
    if ranges and sampler == "grid":
        raise SweepError(
            "{ranges}: a range has no grid; give values, or --sampler random", ranges=ranges[0]
        )
    if ranges and trials is None:
        raise SweepError(
            "{ranges}: of a range there is no end of values; give --trials N", ranges=ranges[0]
        )
    if trials is not None and trials > size:
        raise SweepError(
            "--trials {trials}: the space has only {size} points", trials=trials, size=int(size)
        )
    if sampler == "grid" and trials is not None and trials < size:
        raise SweepError(
            "--trials {trials}: a grid of {size} points is done whole; give "
            "--sampler random or tpe",
            trials=trials,
            size=int(size),
        )
    count = int(size) if trials is None else trials
    if count > MOST_TRIALS:
        raise SweepError(
            "{size:,} points are more than {most_trials:,}; give --trials N",
            size=count,
            most_trials=MOST_TRIALS,
        )
    if not ranges and sampler in (None, "grid") and count == size:
        return "grid", count
    return ("random" if sampler == "random" else "tpe"), count


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        made = SweepFolder(Path(folder), "night")
        plan = SweepPlan("night", {}, (Axis("optim.lr", (1e-3, 3e-3)),), 2)
        made.create(plan)
        assert made.read() == plan
        print(plan.config({"optim.lr": 3e-3}, "night-000", seed=2).train.seed)
    print("=== 自测通过 ===")
