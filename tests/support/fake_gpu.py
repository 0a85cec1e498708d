"""Optimiser steps of every stage on a device that has shapes and no numbers.

torch built for CPUs cannot differentiate on a fake `cuda` (it looks for a device guard that is not
there, and aborts), so the device is torch's backend for others, as `FakeTensorMode` has it. A read
that depends on data raises there, as it would make the host wait on a GPU. Prints the case that
passed, one a line; not a test's: `test_host_waits` runs it in a process of its own, since a backend
is registered for good.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import is_dataclass, replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from small_runs import SMALLEST, silent
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode
from torch.utils import backend_registration

from lmm_tui.data.builtin import tasks
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.stages.base import load_stage
from lmm_tui.engine.stages.distill import DistillStage
from lmm_tui.engine.stages.pretrain import PretrainStage
from lmm_tui.engine.stages.rollout_batch import RolloutBatch
from lmm_tui.engine.training import optim
from lmm_tui.engine.training.optim import build_optimizers
from lmm_tui.engine.training.optimizer_step import OptimizerStep
from lmm_tui.metrics.step.grad_norms import GradNorms

backend_registration._setup_privateuseone_for_python_backend("fakegpu")
GPU = torch.device("fakegpu", 0)
CPU = torch.device("cpu")


def model(config: RunConfig, vocabulary: int) -> Decoder:
    with GPU:
        made = Decoder(config.model.shape(vocabulary))
        made.model.cos, made.model.sin = (torch.empty(made.model.cos.shape) for _ in range(2))
    return made


def step(config: RunConfig, stage: Any, scaled: bool = False) -> None:
    decoder = model(config, stage.tokenizer.vocab_size)
    context: Any = SimpleNamespace(
        config=config,
        device=GPU,
        stage=stage,
        model=decoder,
        optimizers=build_optimizers(decoder, config.optim, config.peak_lr),
        scaler=torch.amp.GradScaler("cpu", enabled=scaled),
        observer=SimpleNamespace(
            grads=GradNorms(decoder.named_parameters()),
            probe_forward=lambda *_: nullcontext(),
            probe_update=lambda *_: nullcontext(),
        ),
        step=0,
        tokens=0,
        total_steps=9,
        lr_scale=1.0,
        parts=2,
        autocast=nullcontext,
    )
    context.param_groups = lambda: [g for o in context.optimizers for g in o.param_groups]
    context.zero_grad = lambda: [o.zero_grad() for o in context.optimizers]
    optimizer_step = OptimizerStep(context)
    for _ in range(2):
        optimizer_step.run(probing=False)


def case(name: str, **changes: Any) -> None:
    stage_name = name.partition("-")[0]
    data = "pretrain" if stage_name == "distill" else stage_name
    small = {"model.num_layers": 1, "train.batch_size": 4}
    assignments = SMALLEST | small | {"device": "cpu"}
    about = {key.replace("__", "."): value for key, value in changes.items()}
    with tempfile.TemporaryDirectory() as folder:
        assignments |= {"stage": data, "data.cache_dir": folder} | about
        config = resolve(assignments=assignments).completed()
        stage: Any = load_stage(config, CPU, silent)
        if stage_name == "grpo":
            stage._round = answers(stage)
            made = stage._batches(stage._round)
        with FakeTensorMode(allow_non_fake_inputs=True):
            stage._device, stage.laid_out_ahead = GPU, False
            if stage_name == "distill":
                source, stage = stage, DistillStage.__new__(DistillStage)
                stage._source, stage._settings = source, config.distill
                stage.tokenizer = source.tokenizer
                stage.laid_out_ahead = False
                stage._teacher = model(config, stage.tokenizer.vocab_size).requires_grad_(False)
            if stage_name == "dpo":
                stage._train.reference_Px2 = torch.zeros(len(stage._train.items), 2)
            if name == "dpo-live":
                stage._train.reference_Px2 = None
                stage._reference = model(config, stage.tokenizer.vocab_size).requires_grad_(False)
            if stage_name == "grpo":
                stage._reference = model(config, stage.tokenizer.vocab_size).requires_grad_(False)
                stage._batches = lambda _, made=made: [on_gpu(batch) for batch in made]
            step(config, stage, scaled=name.endswith("fp16"))
    print(name, flush=True)


def on_gpu(value: Any) -> Any:
    """A dataclass or dictionary with its tensors as empty ones of the device."""
    if isinstance(value, torch.Tensor):
        return torch.empty(value.shape, dtype=value.dtype, device=GPU)
    if isinstance(value, dict):
        return {name: on_gpu(part) for name, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{name: on_gpu(part) for name, part in vars(value).items()})
    return value


def answers(stage: Any) -> RolloutBatch:
    prompts = stage._prompts_per_round
    ids = [[5, 6, 7][: 1 + n % 3] for n in range(prompts * 2)]
    log_probs = [torch.zeros(len(each)) for each in ids]
    scores = [float(n % 2) for n in range(len(ids))]
    about: dict[str, Any] = {"by_reward": {"exact": scores}, "failures": 0, "totals": scores}
    ended = [True] * len(ids)
    return RolloutBatch(0, [*range(prompts)], ids, ended, log_probs, log_probs, **about)


@contextmanager
def as_on_mps() -> Iterator[None]:
    with patch.object(optim, "fused_step_can_skip", lambda device: False):
        yield


if __name__ == "__main__":
    for name in ("_CONVERSATIONS", "_PAIRS", "_PROMPTS"):
        sizes = {side: max(16, count // 50) for side, count in getattr(tasks, name).items()}
        setattr(tasks, name, sizes)
    case("pretrain")
    case("pretrain-muon", optim__name="muon")
    with as_on_mps():
        case("pretrain-mps")
    case("pretrain-fp16")
    chat = {"data__seq_len": 128}
    case("sft", **chat)
    case("dpo", **chat)
    case("dpo-live", **chat, dpo__reference="live")
    case("dpo-orpo", **chat, dpo__loss="orpo")
    case("grpo", **chat, grpo__updates=2, grpo__beta=0.1, grpo__group=2, grpo__max_tokens=8)
    case("distill")
    laid_out = PretrainStage._to_micro_batch
    PretrainStage._to_micro_batch = lambda *args: replace(laid_out(*args), counted=None)  # type: ignore[method-assign]
    try:
        case("pretrain")
    except DynamicOutputShapeException:
        print("refused")
