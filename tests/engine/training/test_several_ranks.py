"""Several ranks: the mathematics of a run does not know how many there are.

Real groups of processes on gloo, one thread each; a group trains all its runs one after another.
"""

import json
import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from forked import Forked
from rank_groups import start_ranks, train_on
from repository import ROOT
from small_runs import SMALLEST, curve, lines

from lmm_tui.engine.checkpoints.checkpoint import load
from lmm_tui.engine.run.control_client import send
from lmm_tui.engine.run.run_dir import RunDir

STEPS = 4
CHAT: dict[str, Any] = {"data.seq_len": 96}
GRPO = CHAT | {"stage": "grpo", "grpo.group": 2, "grpo.max_tokens": 6}
STAGES: dict[str, dict[str, Any]] = {
    "pretrain": {},
    "muon": {"optim.name": "muon"},
    "lora": {"lora.rank": 2, "lora.dropout": 0.0},
    "freeze": {"train.freeze": ["*embed*"]},
    "experts": {"model.num_experts": 4, "model.experts_per_token": 2},
    "sft": CHAT | {"stage": "sft"},
    "dpo": CHAT | {"stage": "dpo"},
    "grpo": GRPO,
    "grpo-again": GRPO | {"grpo.updates": 2, "grpo.beta": 0.05},
    "distill": {"stage": "distill", "distill.teacher": "teacher"},
}
OWN = ("time", "train/tokens_per_s", "train/steps_per_s", "train/mfu")
"""Numbers of a row that are of the machine."""


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        **SMALLEST,
        "device": "cpu",
        "runs_dir": str(folder),
        "data.cache_dir": str(folder / "cache"),
        "train.steps": STEPS,
        "train.batch_size": 4,
        "train.grad_accum": 2,
        "log.every": 1,
        "log.val_every": 3,
        "log.val_batches": 2,
        "log.probe_every": 2,
        "log.sample_every": 0,
        "log.checkpoint_every": 0,
        "log.tensorboard": False,
        **more,
    }


def jobs(folder: Path, way: str, stages: Sequence[str], **more: Any) -> list[dict[str, Any]]:
    """The runs of some stages, to be trained in one way."""
    teacher = {"distill.teacher": str(folder / "pretrain-alone")}
    return [
        settings(folder, **STAGES[stage], **more)
        | {"name": f"{stage}-{way}"}
        | (teacher if stage == "distill" else {})
        for stage in stages
    ]


def numbers(run: Path) -> dict[tuple[int, str], float]:
    return {
        (row["step"], name): value
        for row in lines(RunDir(run).metrics)
        for name, value in row.items()
        if isinstance(value, float) and name not in OWN and not name.startswith("system/")
    }


WAYS = {
    "replicated-2": (2, "none", ("pretrain", "muon", "experts", "dpo", "grpo-again")),
    "divided-2": (2, "all", tuple(STAGES)),
    "groups-4": (4, "2", ("pretrain", "muon", "lora", "sft", "grpo")),
    "divided-4": (4, "all", ("pretrain", "muon")),
}
"""Ranks, how they divide the model, and the stages that are trained so."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    train_on(1, jobs(folder, "alone", tuple(STAGES)), folder)
    for size in (2, 4):
        ways = {way: WAYS[way] for way in WAYS if WAYS[way][0] == size}
        together = [
            jobs(folder, way, stages, **{"parallel.shard": shard})
            for way, (_, shard, stages) in ways.items()
        ]
        train_on(size, [job for listed in together for job in listed], folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "stage, way", [(stage, way) for way, (_, _, stages) in WAYS.items() for stage in stages]
)
def test_losses_are_those_of_one_rank(trained: Path, stage: str, way: str) -> None:
    one, several = numbers(trained / f"{stage}-alone"), numbers(trained / f"{stage}-{way}")
    assert one.keys() <= several.keys()
    for at, value in one.items():
        if at[1] in ("train/loss", "val/loss"):
            assert several[at] == pytest.approx(value, abs=1e-6), at
        elif at[1] == "train/grad_norm":
            assert several[at] == pytest.approx(value, rel=1e-4), at
