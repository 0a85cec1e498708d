"""The shell command that starts a configuration, and which settings have a flag of their own."""

from __future__ import annotations

import shlex

from lmm_tui.engine.config.assignments import format_assignment
from lmm_tui.engine.config.options import lookup, options
from lmm_tui.engine.config.run_config import RunConfig

FLAGS = {
    "stage": "--stage",
    "device": "--device",
    "model.preset": "--model",
    "data.source": "--data",
    "train.steps": "--steps",
    "start_from": "--from",
    "name": "--name",
    "runs_dir": "--runs-dir",
}
"""The keys that have a flag of their own; all others are reached by `--set`."""


def command_line(config: RunConfig, program: str = "lmm-tui train") -> str:
    """The shell command that starts this run: whatever differs from the defaults."""
    words = program.split()
    for option in options():
        value = lookup(config, option.key)
        if value == option.default:
            continue
        if flag := FLAGS.get(option.key):
            words += [flag, str(value)]
        else:
            words += ["--set", format_assignment(option.key, value)]
    return shlex.join(words)


if __name__ == "__main__":
    shown = RunConfig.model_validate({"model": {"preset": "tiny"}, "optim": {"lr": 1e-3}})
    print(command_line(shown))
    assert command_line(shown) == "lmm-tui train --model tiny --set optim.lr=0.001"
    print("=== 自测通过 ===")
