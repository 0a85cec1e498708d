"""Health against real faults: small models are trained with one thing wrong, and must say what.

Each fault is injected into our own loop from outside; ten runs with nothing wrong must say nothing.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

TITLE = "faults: eight faults each raise their alert with the right suspect, ten healthy runs none"

_SMALL = {
    "device": "cpu",
    "model.vocab_size": 300,
    "model.hidden_size": 32,
    "model.num_layers": 4,
    "model.intermediate_size": 64,
    "data.seq_len": 32,
    "data.builtin_mb": 0.1,
    "train.steps": 300,
    "train.batch_size": 8,
    "train.threads": 1,
    "log.val_every": 0,
    "log.probe_every": 0,
    "log.sample_every": 0,
    "log.checkpoint_every": 0,
    "log.tensorboard": False,
}
_CORRUPT_AT = 200

Settings = dict[str, Any]


@contextmanager
def nothing() -> Iterator[Settings]:
    yield {}


@contextmanager
def high_lr() -> Iterator[Settings]:
    """Thirty times the default, and no warm-up."""
    yield {"optim.lr": 30 * 3e-3 * (96 / 32) ** 0.5, "optim.warmup_steps": 0}


@contextmanager
def frozen_layer() -> Iterator[Settings]:
    """No gradient arrives at the parameters of a block."""
    from lmm_tui.engine.model.decoder import Decoder

    real = Decoder.init_weights

    def init_weights(self: Decoder, seed: int) -> None:
        real(self, seed)
        for name, parameter in self.named_parameters():
            if ".layers.2." in name:
                parameter.register_hook(torch.zeros_like)

    with patch.object(Decoder, "init_weights", init_weights):
        yield {}


@contextmanager
def causal_leak() -> Iterator[Settings]:
    """Attention looks ahead."""
    from lmm_tui.engine.model import decoder

    def attend(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        del mask
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)

    with patch.object(decoder, "_attend", attend):
        yield {"model.hidden_size": 64, "model.num_layers": 2}


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
        yield {"train.steps": 220}


@contextmanager
def unshuffled_data() -> Iterator[Settings]:
    """Easy text first: half of the tokens for 200 steps, then the other half."""

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


FAULTS: dict[str, tuple[Callable[[], Any], tuple[str, ...], str]] = {
    "learning rate x 30": (high_lr, ("layer_loud", "loss_risen", "grad_spike"), "LR"),
    "frozen layer": (frozen_layer, ("layer_zero",), "detached"),
    "causal leak": (causal_leak, ("too_good",), "causal leak"),
    "unshifted labels": (unshifted_labels, ("too_good",), "labels not shifted"),
    "pads in the loss": (pads_in_the_loss, ("too_good",), "pads that count"),
    "corrupt batch": (corrupt_batch, ("loss_spike", "grad_spike"), "a bad batch"),
    "data not shuffled": (unshuffled_data, ("loss_spike", "loss_risen"), "data in another order"),
    "bf16 weights": (bf16_weights, ("stuck_at_uniform",), "bf16 weights"),
}
"""By name: the injection, rules one of which must speak, a word of their suspects."""


def alerts_of(folder: Path, settings: Settings) -> list[dict[str, Any]]:
    """Train, and give back what health said; slowness is the machine's."""
    from lmm_tui.engine.config.resolve import resolve
    from lmm_tui.engine.training.run_host import EngineHost

    name = f"run-{len(list(folder.iterdir()))}"
    given = _SMALL | {"runs_dir": str(folder), "name": name, "data.cache_dir": f"{folder}/cache"}
    host = EngineHost(resolve(assignments=given | settings))
    assert host.run() == "finished", host.error
    events = host.run_dir.events.read_text(encoding="utf-8").splitlines()
    found = [event for event in map(json.loads, events) if event.get("suspect")]
    return [event for event in found if event["rule"] != "slow"]


def _fault(folder: Path, name: str) -> bool:
    inject, rules, word = FAULTS[name]
    begun = time.perf_counter()
    with inject() as settings:
        found = alerts_of(folder, settings)
    right = [it for it in found if it["rule"] in rules and word in it["suspect"]]
    seen = ", ".join(f"{it['rule']} at {it['step']}" for it in found) or "nothing"
    seconds = time.perf_counter() - begun
    print(f"{name:<20} {seen:<60} {seconds:4.1f} s  {'PASS' if right else 'FAIL'}", flush=True)
    return bool(right)


def healthy_settings(folder: Path) -> Iterator[tuple[str, Settings]]:
    """Ten runs with nothing wrong."""
    for seed in range(6):
        yield f"pretrain, seed {seed}", {"train.seed": seed, "log.val_every": 50}
    for stage, changes in {
        "sft": {},
        "dpo": {"train.steps": 100},
        "grpo": {"train.steps": 40, "grpo.max_tokens": 8, "grpo.rewards": ["length:4"]},
        "distill": {"distill.teacher": f"{folder}/teacher"},
    }.items():
        yield stage, {"stage": stage, "data.seq_len": 64, "train.batch_size": 4, **changes}


def run() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        missed = [name for name in FAULTS if not _fault(folder, name)]
        alerts_of(folder, {"name": "teacher", "train.steps": 60, "data.seq_len": 64})
        loud = 0
        for name, settings in healthy_settings(folder):
            found = alerts_of(folder, settings)
            said = ", ".join(f"{it['rule']} at {it['step']}: {it['message']}" for it in found)
            print(f"healthy {name:<20} {said or 'nothing'}  {'FAIL' if found else 'PASS'}")
            loud += bool(found)
        print(
            f"faults missed {len(missed)} of {len(FAULTS)}, healthy runs with alerts {loud} of 10"
        )


if __name__ == "__main__":
    run()
