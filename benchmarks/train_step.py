"""Tokens a second of our training step against transformers' Trainer on Qwen3 of the same shape.

Each peer trains in a process of its own, with its own defaults, and they take turns: a round is a
few steps of one, then of the other, and so on; the medians over the rounds are compared, so that
a busy machine hits both. Same data, same optimiser settings, same clipping, no saving, no logging.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

from engine.memory import keep_freed_memory
from engine.shape import PRESETS

TITLE = "training step: ours against transformers' Trainer"


@dataclasses.dataclass(frozen=True)
class Case:
    preset: str
    batch_size: int
    seq_len: int
    steps: int
    """Steps in a round."""
    rounds: int
    compile: bool
    limit: float

    @property
    def tokens(self) -> int:
        """Tokens in a round."""
        return self.batch_size * self.seq_len * self.steps


CASES = (
    Case("minimind-26m", 4, 256, steps=3, rounds=7, compile=False, limit=1.0),
    Case("nano", 16, 256, steps=10, rounds=9, compile=True, limit=1.2),
)
WARM_UP = 3


class Turns:
    """A peer's side of taking turns: it reports each step, and waits between rounds."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.done = -WARM_UP
        self.start = 0.0

    def step_done(self) -> None:
        self.done += 1
        if self.done < 0 or self.done % self.steps:
            return
        print(f"seconds {time.perf_counter() - self.start}", flush=True)
        if not sys.stdin.readline():
            sys.exit()
        self.start = time.perf_counter()


def _data(case: Case) -> np.ndarray:
    """Random token ids, (sequences, seq_len + 1)."""
    size = (64 * case.batch_size, case.seq_len + 1)
    return np.random.default_rng(0).integers(PRESETS[case.preset].vocab_size, size=size)


def ours(case: Case, step_done: Callable[[], None]) -> None:
    """What our loop does in a step, on its components."""
    import torch

    from engine import device as devices
    from engine.config import OptimConfig
    from engine.loss import loss_sum
    from engine.model import Decoder
    from engine.optim import build_optimizers
    from engine.schedule import lr_factor

    cpu = torch.device("cpu")
    keep_freed_memory()
    model = Decoder(PRESETS[case.preset])
    model.init_weights(0)
    backbone = torch.compile(model.backbone) if case.compile else model.backbone
    config = OptimConfig()
    optimizers = build_optimizers(model, config, 1e-3)
    parameters = list(model.parameters())
    data = _data(case)
    total = WARM_UP + case.rounds * case.steps + 1
    for step in range(total):
        rows = np.arange(step * case.batch_size, (step + 1) * case.batch_size) % len(data)
        ids = devices.to_device(data[rows, :-1].copy(), cpu)
        labels = devices.to_device(data[rows, 1:].copy(), cpu)
        loss = loss_sum(backbone(ids), model.head_weight, labels) / labels.numel()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.clip, foreach=True)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * lr_factor(step, total, config)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step_done()


def trainer(case: Case, step_done: Callable[[], None]) -> None:
    """transformers' Trainer with its fused AdamW, on the same shape."""
    import torch
    from transformers import (
        Qwen3Config,
        Qwen3ForCausalLM,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    shape = PRESETS[case.preset]
    config = Qwen3Config(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
        head_dim=shape.head_dim,
        intermediate_size=shape.intermediate_size,
        max_position_embeddings=shape.max_positions,
        rope_theta=shape.rope_theta,
        rms_norm_eps=shape.rms_eps,
        tie_word_embeddings=shape.tie_embeddings,
        use_cache=False,
    )

    class Report(TrainerCallback):
        def on_step_end(self, *args: object, **kwargs: object) -> None:
            step_done()

    sequences = [torch.from_numpy(row[:-1].copy()) for row in _data(case)]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=WARM_UP + case.rounds * case.steps + 1,
            per_device_train_batch_size=case.batch_size,
            learning_rate=1e-3,
            weight_decay=0.1,
            adam_beta2=0.95,
            max_grad_norm=1.0,
            lr_scheduler_type="cosine",
            warmup_steps=20,
            optim="adamw_torch_fused",
            torch_compile=case.compile,
            use_cpu=True,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        Trainer(
            model=Qwen3ForCausalLM(config),
            args=arguments,
            train_dataset=[{"input_ids": ids, "labels": ids} for ids in sequences],
            callbacks=[Report()],
        ).train()


PEERS = {"ours": ours, "trainer": trainer}


class Peer:
    """A peer's process, seen from the one that measures."""

    def __init__(self, name: str, case: Case) -> None:
        command = [sys.executable, __file__, name, json.dumps(dataclasses.asdict(case))]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._seconds()

    def round(self) -> float:
        """Seconds of the next round."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self._seconds()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _seconds(self) -> float:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("seconds "):
                return float(line.split()[1])
        raise RuntimeError(f"the peer ended early with code {self.process.wait()}")


def measure(case: Case) -> None:
    peers = [Peer("ours", case), Peer("trainer", case)]
    rounds = [[peer.round() for peer in peers] for _ in range(case.rounds)]
    for peer in peers:
        peer.close()
    speeds = [case.tokens / statistics.median(times) for times in zip(*rounds, strict=True)]
    ratio = speeds[0] / speeds[1]
    title = f"{case.preset}{' compiled' if case.compile else ''}"
    print(f"{title}: ours {speeds[0]:.0f} tokens/s, Trainer {speeds[1]:.0f} tokens/s")
    verdict = "PASS" if ratio >= case.limit else "FAIL"
    print(f"limit ratio >= {case.limit} measured {ratio:.2f} {verdict}")


def run() -> None:
    """Both cases, one after the other."""
    for case in CASES:
        measure(case)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        case = Case(**json.loads(sys.argv[2]))
        PEERS[sys.argv[1]](case, Turns(case.steps).step_done)
    else:
        run()
