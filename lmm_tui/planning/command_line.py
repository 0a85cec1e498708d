"""The shell command for a configuration, and the settings that have flags of their own."""

from __future__ import annotations

import shlex
from collections.abc import Collection

from lmm_tui.engine.config.assignments import format_assignment
from lmm_tui.engine.config.options import lookup, options
from lmm_tui.engine.config.run_config import RunConfig

FLAGS = {
    "stage": "--stage",
    "device": "--device",
    "model.preset": "--model",
    "data.source": "--data",
    "train.steps": "--steps",
    "train.epochs": "--epochs",
    "train.minutes": "--minutes",
    "train.tokens": "--tokens",
    "train.flops": "--flops",
    "parallel.ranks": "--ranks",
    "parallel.restarts": "--restarts",
    "start_from": "--from",
    "name": "--name",
    "runs_dir": "--runs-dir",
}
"""Keys with a flag; all others are set with `--set`."""


def command_line(
    config: RunConfig, program: str = "lmm-tui train", without: Collection[str] = ()
) -> str:
    """The shell command that starts a run with `config`; defaults are left out, and `without`."""
    arguments = program.split()
    for option in options():
        value = lookup(config, option.key)
        if option.key == "data.more":
            continue  # With data.source.
        if option.key == "data.source" and config.data.more:
            arguments += [text for one in config.data.named for text in ("--data", one)]
            continue
        if value == option.default or option.key in without:
            continue
        if option.key == "train.steps" and config.train.length_key != "steps":
            continue  # They follow.
        if flag := FLAGS.get(option.key):
            arguments += [flag, str(value)]
        else:
            arguments += ["--set", format_assignment(option.key, value)]
    for name, value in config.own.items():
        arguments += ["--set", format_assignment(f"own.{name}", value)]
    return shlex.join(arguments)


def run_name(config: RunConfig) -> str:
    """The name of the run; its date is not known before it starts."""
    return config.name or f"{config.stage}-{config.model.preset}-<date>"


if __name__ == "__main__":
    demo = RunConfig.model_validate({"model": {"preset": "tiny"}, "optim": {"lr": 1e-3}})
    print(command_line(demo))
    assert command_line(demo) == "lmm-tui train --model tiny --set optim.lr=0.001"
    print("=== 自测通过 ===")
