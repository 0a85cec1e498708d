"""`ranks/job.json`: what the ranks of a run are to do, from the process that starts them.

A run that is resumed may have been asked for other settings than its config.toml has; so these are
left apart, for the first start of the ranks. Torch-free.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.run_settings import settings_of
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.training.train_job import TrainJob
from lmm_tui.guarded_files import make_private, read_bytes, replace_text


def write_job(job: TrainJob) -> None:
    """Leave the settings of a job in the directory of its run, which exists."""
    run = job.run_dir
    make_private(run.ranks)
    record = {"config": job.config.model_dump(mode="json"), "resumes": job.resumes}
    replace_text(_file(run), json.dumps(record), run.path)


def read_job(run: RunDir) -> tuple[RunConfig, bool]:
    """The settings to start the ranks with, and whether they resume the run.

    After a restart (TORCHELASTIC_RESTART_COUNT) the settings are those that the run has by now,
    which commands may have changed, and it is resumed.
    """
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")):
        return settings_of(run), True
    record: dict[str, Any] = json.loads(read_bytes(_file(run), run.path))
    return RunConfig.model_validate(record["config"]), bool(record["resumes"])


def _file(run: RunDir) -> Path:
    return run.ranks / "job.json"


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.config.resolve import resolve
    from lmm_tui.engine.training.train_job import plan_job

    with tempfile.TemporaryDirectory() as folder:
        job = plan_job(resolve(assignments={"runs_dir": folder, "name": "demo"}))
        job.run_dir.create()
        write_job(job)
        config, resumes = read_job(job.run_dir)
        assert config == job.config and not resumes
        print(config.name)
    print("=== 自测通过 ===")
