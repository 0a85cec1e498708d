"""Configurations of small runs, such runs, and what they have written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.training.run_host import EngineHost

MakeConfig = Callable[..., RunConfig]

SMALLEST: dict[str, Any] = {
    "model.vocab_size": 300,
    "model.hidden_size": 32,
    "model.num_layers": 2,
    "model.intermediate_size": 64,
    "data.seq_len": 32,
    "data.builtin_mb": 0.1,
    "train.threads": 1,
}
"""Settings of the model and the data of a run that takes a second."""


def write_chats(folder: Path) -> str:
    """Conversations, pairs and prompts in one schema each, small enough to render at once."""
    for name, row in {
        "chats": lambda a, b: {
            "messages": [
                {"role": "user", "content": f"{a} + {b}?"},
                {"role": "assistant", "content": f"{a + b}"},
            ]
        },
        "pairs": lambda a, b: {
            "prompt": f"{a} + {b}?",
            "chosen": str(a + b),
            "rejected": f"no {a + b}",
        },
        "prompts": lambda a, b: {"prompt": f"{a} + {b}?", "answer": a + b},
    }.items():
        rows = (json.dumps(row(a, b)) for a in range(8) for b in range(8))
        (folder / f"{name}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return str(folder)


SOURCES = {
    "sft": "chats",
    "dpo": "pairs",
    "kto": "pairs",
    "reward": "pairs",
    "grpo": "prompts",
    "distill": "chats",
}


def lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:  # `splitlines` ends one at a U+2028 of a text, too.
        return [json.loads(line) for line in file]


def curve(run_dir: RunDir, name: str = "train/loss") -> dict[int, float]:
    """step -> value; of several lines for one step the last counts, as readers have it."""
    return {row["step"]: row[name] for row in lines(run_dir.metrics) if name in row}


def run(config: RunConfig, resume: RunDir | None = None) -> EngineHost:
    """A run from beginning to end, however that is."""
    host = EngineHost(config, resume)
    host.run()
    return host


def train(config: RunConfig, resume: RunDir | None = None) -> EngineHost:
    """A run that ends well."""
    host = run(config, resume)
    assert host.error == "", host.error
    return host


def stop_after(host: EngineHost, step: int) -> None:
    """Train until a step is reported, and no further; without a last checkpoint."""
    tell = host.status.update

    def update(**changes: Any) -> None:
        tell(**changes)
        if changes.get("step") == step:
            host.mailbox.send("stop", {"checkpoint": False})

    with patch.object(host.status, "update", update):
        assert host.run() == "stopped", host.error


def of_stage(small: MakeConfig, chats: str, stage: str, **changes: object) -> RunConfig:
    source = SOURCES[stage]
    if stage == "grpo":
        changes = {"grpo__group": 4, "grpo__max_tokens": 8} | changes
    return small(stage=stage, data__source=f"{chats}/{source}.jsonl", data__seq_len=64, **changes)


def silent(label: str, done: int, total: int) -> None:
    """Nobody watches."""
