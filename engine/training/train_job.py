"""TrainJob, what a training run is to do: settings, what a resume changes, and the run's directory.

Made before the run is; whatever cannot be trained is refused here. Torch-free.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from lmm_tui.engine.checkpoints.checkpoint_files import newest_intact
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.config_file import to_toml
from lmm_tui.engine.config.resolve import resolve, with_changes
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.run_settings import changed_settings, settings_of
from lmm_tui.engine.config.trust import refuse_untrusted
from lmm_tui.engine.run.checkpoint_names import checkpoint_step, list_checkpoints
from lmm_tui.engine.run.find_run import run_or_path
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_dir_error import RunDirError, nothing_left
from lmm_tui.engine.run.setting_changes import SettingChange, SettingHistory, read_history


@dataclass(frozen=True)
class TrainJob:
    config: RunConfig
    run_dir: RunDir
    resumes: bool
    """Whether the run continues in its own directory, from its newest checkpoint."""
    history: SettingHistory
    """What was changed in the run so far."""
    asked: list[SettingChange]
    """What changes with this resume, at a step to come."""
    renamed_from: str = ""
    """The name that was asked for, where that run has the first weights."""

    @property
    def config_text(self) -> str:
        """config.toml: the settings that the run began with."""
        return to_toml(with_changes(self.config, self.history.began))


def plan_job(config: RunConfig, resume: RunDir | None = None, *, is_made: bool = False) -> TrainJob:
    """Raises LmmError where the directory cannot be used; nothing is written.

    `is_made`: the directory of a new run may be there, from who starts its ranks.
    """
    if resume is not None:
        config = _relocate_tokenizer(config, resume)
    if config.start_from is None or resume is not None:
        config = config.completed()  # Else it follows from the shape of the weights.
    asked = config.name
    if resume is None:
        config = _with_stage_file(_with_sources(config))
    run_dir = resume or RunDir(Path(config.runs_dir) / (config.name or _new_name(config)))
    if resume is None and run_dir.exists() and not is_made:
        raise RunDirError(
            "{path}: holds a run already; choose another --name, or go on with "
            "`lmm-tui resume {name}`",
            path=run_dir.path,
            name=run_dir.name,
        )
    if resume is not None:
        refuse_untrusted(config, [resume.path])
        _refuse_finished(resume, _planned_steps(config, resume))
    renamed_from = asked if resume is None and asked and asked != config.name else ""
    config = config.model_copy(update={"name": run_dir.name})
    history, changes = _history(resume, config)
    return TrainJob(config, run_dir, resume is not None, history, changes, renamed_from)


def _history(
    resume: RunDir | None, config: RunConfig
) -> tuple[SettingHistory, list[SettingChange]]:
    """What was changed in the run so far, and what changes with this resume, at a step to come."""
    if resume is None:
        return SettingHistory(), []
    history = read_history(resume.events)
    try:
        before = settings_of(resume).completed()
    except ConfigError:
        return history, []
    asked = changed_settings(before, config, step=0)
    for change in asked:
        history.began.setdefault(change.key, change.before)
    if config.train.length_key != "steps":
        history.began.setdefault("train.steps", before.train.steps)
    # What it follows from, too: a length that is given alone takes the place of the others.
    length = before.train.length_key
    if "train.steps" in history.began:
        history.began.setdefault(f"train.{length}", getattr(before.train, length))
    return history, asked


def _relocate_tokenizer(config: RunConfig, run: RunDir) -> RunConfig:
    """Use the run's own tokenizer.json where its directory was moved."""
    given, own = config.data.tokenizer, run.path / "tokenizer.json"
    if given is None or Path(given).expanduser().exists() or not own.is_file():
        return config
    data = config.data.model_copy(update={"tokenizer": str(own)})
    return config.model_copy(update={"data": data})


def _with_stage_file(config: RunConfig) -> RunConfig:
    """The file of a stage by its whole path, for a resume in another folder."""
    place, _, name = config.stage.rpartition(":")
    if not place.endswith(".py"):
        return config
    return config.model_copy(update={"stage": f"{Path(place).absolute()}:{name}"})


def _with_sources(config: RunConfig) -> RunConfig:
    """Weights that are named like the new run are those that had the name before.

    A run that starts from one of its own name gets the next free one: nothing is overwritten.
    """
    if config.name is None:
        return config
    own = Path(config.runs_dir, config.name)

    def located(name: str | None) -> str | None:
        if name is None or Path(config.runs_dir, name) != own or own.is_dir():
            return name
        return str(Path(name).absolute())

    teacher = config.distill.model_copy(update={"teacher": located(config.distill.teacher)})
    update: dict[str, Any] = {"start_from": located(config.start_from), "distill": teacher}
    if config.start_from:
        start = run_or_path(config.start_from, config.runs_dir).resolve()
        if own.resolve() in (start, *start.parents):
            names = (f"{config.name}-{number}" for number in count(2))
            update["name"] = next(it for it in names if not Path(config.runs_dir, it).exists())
    return config.model_copy(update=update)


def _planned_steps(config: RunConfig, run: RunDir) -> int | None:
    """All the steps of a resumed run; None where they follow from data that are not read yet."""
    if config.train.length_key == "steps":
        return config.train.steps
    if config.train.epochs is None:
        return None
    before = resolve(run.config).train
    if before.epochs is None:
        return None
    return math.ceil(before.steps * config.train.epochs / before.epochs)


def _refuse_finished(run_dir: RunDir, steps: int | None) -> None:
    if steps is None:
        return
    saved = list_checkpoints(run_dir.checkpoints)
    if not saved or checkpoint_step(saved[-1]) < steps:
        return
    newest, _ = newest_intact(run_dir.checkpoints)
    done = checkpoint_step(newest) if newest else 0
    if done >= steps:
        raise nothing_left(run_dir.path, done, steps)


def _new_name(config: RunConfig) -> str:
    """Stage, model and date, with a number after it where that name is taken."""
    stem = f"{config.stage_name}-{config.model.preset}-{time.strftime('%m%d-%H%M%S')}"
    names = chain([stem], (f"{stem}-{number}" for number in count(2)))
    return next(name for name in names if not (Path(config.runs_dir) / name).exists())


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        print(plan_job(resolve(assignments={"runs_dir": folder})).run_dir)
    print("=== 自测通过 ===")
