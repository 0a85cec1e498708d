"""Between the first kernel of a step and its last the host never asks a GPU for a number."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import Forked
from repository import ROOT
from scripts import environment
from small_runs import MakeConfig, of_stage, train

from benchmarks.host_waits import HostWaits
from lmm_tui.engine.training.loop import Trainer
from lmm_tui.engine.transfer import LateNumbers

_STEP = 4

CASES: dict[str, dict[str, Any]] = {
    "pretrain": {},
    "muon": {"optim__name": "muon"},
    "sft": {},
    "dpo": {},
    "orpo": {"dpo__loss": "orpo"},
    "live": {"dpo__reference": "live"},
    # Only every other step samples completions, which is made of waits.
    "grpo": {"grpo__updates": 2, "grpo__beta": 0.1},
    "distill": {},
    "lora": {"lora__rank": 2},
}
STAGES = {"muon": "pretrain", "orpo": "dpo", "live": "dpo", "lora": "sft"}


@pytest.mark.parametrize("case", CASES)
def test_a_step_has_no_host_wait(
    case: str, small: MakeConfig, chats: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Counter[str]] = []
    real = Trainer._step

    def step(trainer: Trainer, parts: Any) -> None:
        if parts.context.step < _STEP - 2:
            return real(trainer, parts)
        with HostWaits() as waits:  # Two steps, since the first is read in the second.
            real(trainer, parts)
        if parts.context.step == _STEP:
            found.append(waits.found)
        return None

    stage = STAGES.get(case, case)
    options: dict[str, Any] = {
        "train__steps": _STEP,
        "train__grad_accum": 2,
        "log__val_every": 0,
        "log__probe_every": 0,
    } | CASES[case]
    if stage == "pretrain":
        config = small(**options)
    else:
        if stage == "distill":
            teacher = train(of_stage(small, chats, "sft", name="teacher", train__steps=1))
            options["distill__teacher"] = str(teacher.run_dir.path)
            options["distill__data"] = "chat"
        config = of_stage(small, chats, stage, **options)
    monkeypatch.setattr(Trainer, "_step", step)
    train(config)
    assert found == [Counter()]


def test_the_counter_sees_what_waits() -> None:
    values = torch.arange(3.0)
    with HostWaits() as waits:
        late = LateNumbers(values)
        (values > 1).nonzero()
        float(values.sum())
        values.tolist()
        LateNumbers(values)
        late.read()
    assert waits.found.total() == 3
    with HostWaits() as waits:
        LateNumbers(values).read()
    assert waits.found.total() == 1


def test_whole_steps_run_where_every_read_of_data_is_an_error(tmp_path: Path) -> None:
    """Of all stages, on a device that has shapes and no numbers."""
    script = Forked([ROOT / "tests/support/fake_gpu.py"], tmp_path, environment())
    out, err = script.communicate()
    assert script.returncode == 0, err
    assert out.split() == [
        *("pretrain", "pretrain-muon", "pretrain-mps", "pretrain-fp16", "sft", "dpo", "dpo-live"),
        *("dpo-orpo", "grpo", "distill", "refused"),
    ]
