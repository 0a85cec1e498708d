"""A run small enough to train in a second, and what it left behind."""

from pathlib import Path
from typing import Any

import pytest
from small_runs import SMALLEST, MakeConfig, write_chats

from lmm_tui.data.builtin import tasks
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig


@pytest.fixture(scope="session")
def token_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def few_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the built-in conversations, pairs and prompts: no run here trains on more."""
    for name in ("_CONVERSATIONS", "_PAIRS", "_PROMPTS"):
        sizes = {side: count // 10 for side, count in getattr(tasks, name).items()}
        monkeypatch.setattr(tasks, name, sizes)


@pytest.fixture
def small(tmp_path: Path, token_cache: Path) -> MakeConfig:
    """Configurations of small runs under `tmp_path`; keyword `train__steps` is `train.steps`."""

    def make(**changes: Any) -> RunConfig:
        assignments = {
            "runs_dir": str(tmp_path),
            "name": "small",
            "device": "cpu",
            **SMALLEST,
            "data.cache_dir": str(token_cache),
            "train.steps": 12,
            "train.batch_size": 4,
            "optim.warmup_steps": 4,
            "log.val_every": 5,
            "log.val_batches": 2,
            "log.probe_every": 4,
            "log.sample_every": 0,
            "log.checkpoint_every": 0,
            "log.sample_tokens": 4,
            "log.tensorboard": False,
        }
        assignments |= {key.replace("__", "."): value for key, value in changes.items()}
        return resolve(assignments=assignments)

    return make


@pytest.fixture
def chats(tmp_path: Path) -> str:
    return write_chats(tmp_path)
