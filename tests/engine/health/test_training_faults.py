"""Small models are trained with one thing wrong: health names its suspect.

Each fault is injected into our own loop from outside; runs with nothing wrong raise no alert.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from lmm_tui.engine.run.reader import Reader
from lmm_tui.metrics.health.alert import Alert
from lmm_tui.metrics.health.rules import RULES
from lmm_tui.runs.run_health import judge

_SMALL = {
    "device": "cpu",
    "model.vocab_size": 300,
    "model.hidden_size": 32,
    "model.num_layers": 2,
    "model.intermediate_size": 64,
    "data.seq_len": 32,
    "data.builtin_mb": 0.1,
    "train.batch_size": 8,
    "train.threads": 1,
    "log.val_every": 0,
    "log.probe_every": 0,
    "log.sample_every": 0,
    "log.checkpoint_every": 0,
    "log.tensorboard": False,
}
_CORRUPT_AT = 120

Settings = dict[str, Any]


@contextmanager
def high_lr() -> Iterator[Settings]:
    """Thirty times the default, and no warm-up."""
    yield {"optim.lr": 30 * 3e-3 * (96 / 32) ** 0.5, "optim.warmup_steps": 0, "model.num_layers": 4}


@contextmanager
def frozen_layer() -> Iterator[Settings]:
    """No gradient arrives at the parameters of a block."""
    from lmm_tui.engine.model.decoder import Decoder

    real = Decoder.init_weights

    def init_weights(self: Decoder, seed: int) -> None:
        real(self, seed)
        for name, parameter in self.named_parameters():
            if ".layers.1." in name:
                parameter.register_hook(torch.zeros_like)

    with patch.object(Decoder, "init_weights", init_weights):
        yield {}


@contextmanager
def causal_leak() -> Iterator[Settings]:
    """Attention looks ahead."""
    from lmm_tui.engine.model import self_attention

    def attend(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        del mask
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)

    with patch.object(self_attention, "_attend", attend):
        yield {"model.hidden_size": 64}


@contextmanager
def _batches(change: Callable[[int, Any], None]) -> Iterator[None]:
    """`change` is shown the step (from 1) and the micro-batches of every step, in place."""
    from lmm_tui.engine.stages.pretrain import PretrainStage

    real = PretrainStage.micro_batches

    def micro_batches(self: PretrainStage, step: int) -> Any:
        found = real(self, step)
        for batch in found:
            change(step + 1, batch)
        return found

    with patch.object(PretrainStage, "micro_batches", micro_batches):
        yield


@contextmanager
def unshifted_labels() -> Iterator[Settings]:
    with _batches(lambda step, batch: batch.labels_BxT.copy_(batch.ids_BxT)):
        yield {}


@contextmanager
def pads_in_the_loss() -> Iterator[Settings]:
    """Two thirds of each sequence are padding, and count."""

    def pad(step: int, batch: Any) -> None:
        del step
        batch.ids_BxT[:, 10:] = 0
        batch.labels_BxT[:, 9:] = 0

    with _batches(pad):
        yield {}


@contextmanager
def corrupt_batch() -> Iterator[Settings]:
    """One batch of a single token over and over."""

    def spoil(step: int, batch: Any) -> None:
        if step == _CORRUPT_AT:
            batch.labels_BxT.fill_(299)

    with _batches(spoil):
        yield {}


@contextmanager
def unshuffled_data() -> Iterator[Settings]:
    """Easy text first: half of the tokens, then the other half."""

    def sort(step: int, batch: Any) -> None:
        shift = 0 if step <= 200 else 150
        batch.ids_BxT.remainder_(150).add_(shift)
        batch.labels_BxT.remainder_(150).add_(shift)

    with _batches(sort):
        yield {}


@contextmanager
def bf16_weights() -> Iterator[Settings]:
    """Weights are rounded to bfloat16 after every step of a small learning rate."""
    real = torch.optim.AdamW.step

    def step(self: torch.optim.AdamW, *args: Any) -> Any:
        done = real(self, *args)
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    p.copy_(p.bfloat16().float())
        return done

    with patch.object(torch.optim.AdamW, "step", step):
        yield {"optim.lr": 1e-5}


FAULTS: list[tuple[Callable[[], Any], int, tuple[str, ...], str]] = [
    (high_lr, 150, ("layer_loud", "loss_risen", "grad_spike"), "LR"),
    (frozen_layer, 8, ("layer_zero",), "detached"),
    (causal_leak, 200, ("too_good",), "causal leak"),
    (unshifted_labels, 60, ("too_good",), "unshifted labels"),
    (pads_in_the_loss, 60, ("too_good",), "unmasked padding"),
    (corrupt_batch, 130, ("loss_spike", "grad_spike"), "a bad batch"),
    (unshuffled_data, 300, ("loss_spike", "loss_risen"), "a change in the data"),
    (bf16_weights, 210, ("stuck_at_uniform",), "bf16 weights"),
]
"""Injection, steps until it is found, rules one of which must raise it, part of their suspect."""


def alerts_of(folder: Path, cache: Path, settings: Settings) -> list[Alert]:
    """Train a run and return its alerts, but for those of the machine's speed.

    With the causes that somebody's own loop may have, as all faults here are such a loop's.
    """
    from lmm_tui.engine.config.resolve import resolve
    from lmm_tui.engine.training.run_host import EngineHost

    given = _SMALL | {"runs_dir": str(folder), "data.cache_dir": str(cache)}
    host = EngineHost(resolve(assignments=given | settings))
    assert host.run() == "finished", host.error
    session = Reader(host.run_dir.path)
    session.poll()
    live = [event for event in session.events if event.details.get("suspect")]
    found = judge(session, RULES)[0].alerts
    assert {event.details["rule"] for event in live} == {alert.rule for alert in found}
    return [alert for alert in found if alert.rule != "slow"]


@pytest.mark.parametrize(
    ("inject", "steps", "rules", "suspect"), FAULTS, ids=[fault[0].__name__ for fault in FAULTS]
)
def test_a_fault_in_the_training_names_its_suspect(
    inject: Callable[[], Any],
    steps: int,
    rules: tuple[str, ...],
    suspect: str,
    tmp_path: Path,
    token_cache: Path,
) -> None:
    with inject() as settings:
        found = alerts_of(tmp_path, token_cache, {"train.steps": steps} | settings)
    assert any(it.rule in rules and suspect in it.suspect for it in found), found


@pytest.mark.parametrize(
    "settings",
    [
        {"stage": "sft", "train.steps": 60},
        {"stage": "dpo", "train.steps": 30},
        {"stage": "grpo", "train.steps": 20, "grpo.max_tokens": 8, "grpo.rewards": ["length:4"]},
        {"stage": "distill", "train.steps": 60},
    ],
    ids=lambda settings: settings["stage"],
)
def test_a_healthy_run_of_each_stage_raises_none(
    settings: Settings, tmp_path: Path, token_cache: Path
) -> None:
    size = {"data.seq_len": 64, "train.batch_size": 4}
    if settings["stage"] == "distill":
        teacher = size | {"name": "teacher", "train.steps": 60}
        assert alerts_of(tmp_path, token_cache, teacher) == []
        settings = settings | {"distill.teacher": f"{tmp_path}/teacher"}
    assert alerts_of(tmp_path, token_cache, size | {"name": "healthy"} | settings) == []
