"""How long a run will take, found out by doing its first steps in a process aside.

The run of the trial is thrown away; nothing of it is kept but a time.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from lmm_tui.engine.config.config_file import to_toml
from lmm_tui.engine.config.resolve import check
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.find_run import run_or_path
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.runs.worker_process import run_in_worker

STEPS = 3
_QUIET = {f"log.{name}_every": 0 for name in ("val", "probe", "sample", "checkpoint")}


def seconds_a_step(config: RunConfig) -> float:
    """Wall time of a step of `config`, the mean of STEPS after the first, which warms up.

    Blocks for as long as that takes. Raises AsideError.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "trial.toml"
        settings.write_text(to_toml(_shortened(config, folder)), encoding="utf-8")
        run_in_worker(["train", "--config", str(settings)])
        lines = RunDir(Path(folder) / "trial").metrics.read_text(encoding="utf-8").splitlines()
    times = [json.loads(line)["time"] for line in lines]
    return float(times[-1] - times[0]) / STEPS


def _shortened(config: RunConfig, folder: str) -> RunConfig:
    changes = {
        **_QUIET,
        "log.every": 1,
        "log.tensorboard": False,
        "eval.every": 0,
        "health.enable": False,
        "train.steps": STEPS + 1,
        "runs_dir": folder,
        "name": "trial",
    }
    if config.start_from:
        changes["start_from"] = str(run_or_path(config.start_from, config.runs_dir).resolve())
    for key, value in changes.items():
        config = check(key, value, config)
    return config


if __name__ == "__main__":
    short = _shortened(RunConfig(), "/tmp/nowhere")
    print(short.train.steps, short.runs_dir, short.log.val_every)
    assert short.train.steps == STEPS + 1 and not short.log.tensorboard
    print("=== 自测通过 ===")
