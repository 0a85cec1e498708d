"""Measures the time of a step by training a few steps in a worker process, in a temporary run."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from lmm_tui.child_process import ALL_SECRETS
from lmm_tui.engine.config.assignments import format_assignment
from lmm_tui.engine.config.config_file import to_toml
from lmm_tui.engine.config.resolve import with_changes
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.trust import commands_in
from lmm_tui.engine.run.find_run import run_or_path
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.runs.worker_process import run_in_worker

STEPS = 3
_QUIET = {f"log.{name}_every": 0 for name in ("val", "probe", "sample", "checkpoint")}


def seconds_a_step(config: RunConfig) -> float:
    """Wall time of a step of `config`: the mean of STEPS steps after one for warm-up.

    Blocks meanwhile. Raises WorkerError.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "benchmark.toml"
        config = _shortened(config, folder)
        settings.write_text(to_toml(config), encoding="utf-8")
        # Rewards that are functions are allowed here as they are in `config`.
        rewards = format_assignment("grpo.rewards", config.grpo.rewards)
        secrets = ALL_SECRETS if commands_in(config) else ()
        run_in_worker(["train", "--config", str(settings), "--set", rewards], secrets=secrets)
        lines = RunDir(Path(folder) / "benchmark").metrics.read_text(encoding="utf-8").splitlines()
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
        "name": "benchmark",
    }
    if config.start_from:
        changes["start_from"] = str(run_or_path(config.start_from, config.runs_dir).resolve())
    for key, value in changes.items():
        config = with_changes(config, {key: value})
    return config


if __name__ == "__main__":
    shortened = _shortened(RunConfig(), "/tmp/nowhere")
    print(shortened.train.steps, shortened.runs_dir, shortened.log.val_every)
    assert shortened.train.steps == STEPS + 1
    print("=== 自测通过 ===")
