"""Tokens a second of our loop against transformers' Trainer on Qwen3 of the same shape.

Each peer trains in a process of its own, as it comes, and they take turns: a few steps of one, then
of the other. The medians over all rounds are compared, so that a busy machine hits both alike. Same
tokens, same optimiser with the same settings, same clipping, both compiled or neither; ours also
logs every step, the Trainer logs and saves nothing. Compiling is over before the first round.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import medians, report, rounds
from benchmarks.qwen3 import qwen3
from benchmarks.terminal import ROOT
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig

if TYPE_CHECKING:
    import torch

TITLE = "train_step: our loop against transformers' Trainer on Qwen3"

WARM_UP = 3


@dataclass(frozen=True)
class Case:
    preset: str
    batch_size: int
    seq_len: int
    steps: int
    """Steps in a round."""
    rounds: int
    compile: bool
    limit: float
    """The least speed, the Trainer's being 1."""
    device: str = "cpu"
    precision: str = "fp32"
    shape: dict[str, int] = field(default_factory=dict)
    """What differs from the preset."""
    megabytes: float = 2.0
    """Of text."""

    @property
    def title(self) -> str:
        kind = "compiled" if self.compile else "eager"
        return f"{self.preset}, {kind}, {self.batch_size}x{self.seq_len} tokens"

    @property
    def total_steps(self) -> int:
        return WARM_UP + self.rounds * self.steps

    def config(self, folder: Path) -> RunConfig:
        """The run that both peers train, with everything in `folder`."""
        return resolve(
            assignments={
                "device": self.device,
                "name": self.preset,
                "runs_dir": str(folder / "runs"),
                "model.preset": self.preset,
                "data.seq_len": self.seq_len,
                "data.builtin_mb": self.megabytes,
                "data.cache_dir": str(folder / "cache"),
                "train.steps": self.total_steps,
                "train.batch_size": self.batch_size,
                "train.precision": self.precision,
                "train.compile": self.compile,
                "optim.warmup_steps": 1,
                "log.val_every": 0,
                "log.probe_every": 0,
                "log.sample_every": 0,
                "log.checkpoint_every": 0,
            }
            | {f"model.{name}": value for name, value in self.shape.items()}
        )


CASES = (
    Case("minimind-26m", 4, 256, steps=3, rounds=rounds(7), compile=False, limit=1.0),
    Case("nano", 16, 256, steps=10, rounds=rounds(9), compile=True, limit=1.2),
)


def run() -> None:
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            speeds = speeds_of(case, Path(folder))
        report(case.title, speeds["ours"], speeds["trainer"], "Trainer", unit="tokens/s",
               at_least=case.limit)  # fmt: skip


def speeds_of(case: Case, folder: Path) -> dict[str, float]:
    """Tokens a second of each peer."""
    peers = {name: Peer(name, case, folder) for name in PEERS}
    tokens = case.steps * case.batch_size * case.seq_len

    def speed(peer: Peer) -> float:
        return tokens / peer.round()

    speeds = medians(
        {name: partial(speed, peer) for name, peer in peers.items()},
        case.rounds,
        warm_up=False,
    )
    for peer in peers.values():
        peer.close()
    return speeds


class Peer:
    """A peer's process, seen from the one that measures."""

    def __init__(self, name: str, case: Case, folder: Path) -> None:
        """Returns when the peer has warmed up."""
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "benchmarks.train_step",
                name,
                json.dumps(asdict(case)),
                str(folder),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._seconds()

    def round(self) -> float:
        """Let it train a round; the seconds that took."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._seconds()

    def close(self) -> None:
        self._process.communicate()

    def _seconds(self) -> float:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("seconds "):
                return float(line.split()[1])
        raise RuntimeError(f"a peer ended early, with code {self._process.wait()}")


class Turns:
    """The peer's own side: it says when a round is over, and waits to be told to go on."""

    def __init__(self, case: Case) -> None:
        self._steps = case.steps
        self._done = -WARM_UP
        self._start = time.perf_counter()

    def step_done(self) -> None:
        self._done += 1
        if self._done < 0 or self._done % self._steps:
            return
        print(f"seconds {time.perf_counter() - self._start}", flush=True)
        sys.stdin.readline()
        self._start = time.perf_counter()


def ours(case: Case, folder: Path, step_done: Callable[[], None]) -> None:
    """The run as `lmm-tui train` hosts it."""
    from lmm_tui.engine.training import loop
    from lmm_tui.engine.training.parts import TrainingParts
    from lmm_tui.engine.training.run_host import EngineHost

    class Timed(loop.Trainer):
        def _step(self, parts: TrainingParts) -> None:
            with never_waiting(parts.context.device, parts.context.step >= WARM_UP):
                super()._step(parts)
            step_done()

    loop.Trainer = Timed  # type: ignore[misc]
    host = EngineHost(case.config(folder))
    host.start()
    host.join()


@contextmanager
def never_waiting(device: torch.device, checked: bool) -> Iterator[None]:
    """On CUDA an error where the host waits for the GPU in the `with` block."""
    import torch

    if not checked or device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def trainer(case: Case, folder: Path, step_done: Callable[[], None]) -> None:
    """transformers' Trainer with its fused AdamW, on the same tokens."""
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from lmm_tui.engine.stages.pretrain import PretrainStage

    class Report(TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            step_done()

    config = case.config(folder)
    host = torch.device("cpu")
    stage = PretrainStage(config, host, lambda label, done, total: None)
    batches = [stage.micro_batches(step)[0].ids_BxT for step in range(case.total_steps)]
    shape = config.model.shape(stage.tokenizer.vocab_size)
    torch.manual_seed(config.train.seed)
    model = qwen3(shape)
    model.config.use_cache = False
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        max_steps=case.total_steps,
        per_device_train_batch_size=case.batch_size,
        learning_rate=config.peak_lr,
        weight_decay=config.optim.weight_decay,
        adam_beta1=config.optim.beta1,
        adam_beta2=config.optim.beta2,
        max_grad_norm=config.optim.clip,
        lr_scheduler_type="cosine",
        warmup_steps=config.optim.warmup_steps,
        optim="adamw_torch_fused",
        torch_compile=case.compile,
        use_cpu=case.device == "cpu",
        bf16=case.precision == "bf16",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    Trainer(
        model=model,
        args=arguments,
        train_dataset=[{"input_ids": ids, "labels": ids} for batch in batches for ids in batch],
        callbacks=[Report()],
    ).train()


PEERS = {"ours": ours, "trainer": trainer}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        name, settings, place = sys.argv[1:]
        own = Case(**json.loads(settings))
        PEERS[name](own, Path(place), Turns(own).step_done)
    else:
        run()
