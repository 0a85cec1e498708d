"""One CUDA GPU in four minutes: speed, MFU, waits of the host, rollouts and memory.

For whoever has a card: `python -m benchmarks gpu`. Each shape trains in bf16 with and without
compile, in turns with transformers' Trainer on the same shape, tokens and optimiser; from the
fourth step on it is an error if our host waits for the GPU. Without a GPU a miniature runs on the
CPU, so that the script stays alive; its figures mean nothing.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.measure import report, rounds, seconds
from benchmarks.train_step import Case, speeds_of
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.device import autocast, peak_flops, resolve_precision
from lmm_tui.engine.generation.rollout import rollout
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.training.run_host import EngineHost
from lmm_tui.planning.simulated_memory import simulated

TITLE = "gpu: one CUDA GPU, against transformers' Trainer; on a machine without one a miniature"

HALF_BILLION = {
    "vocab_size": 6400,
    "hidden_size": 1280,
    "num_layers": 24,
    "num_heads": 20,
    "num_kv_heads": 4,
    "head_dim": 64,
    "intermediate_size": 3840,
}
"""485M parameters; a vocabulary that the built-in text can fill."""

_ON_GPU = (
    Case("minimind-104m", 32, 1024, 10, rounds(3), False, 1.1, "cuda", "bf16"),
    Case("minimind-104m", 32, 1024, 10, rounds(3), True, 1.1, "cuda", "bf16"),
    Case("minimind-104m", 8, 2048, 10, rounds(3), False, 1.0, "cuda", "bf16", HALF_BILLION),
    Case("minimind-104m", 8, 2048, 10, rounds(3), True, 1.0, "cuda", "bf16", HALF_BILLION),
)
_TINY = {"hidden_size": 32, "num_heads": 2, "num_layers": 1, "vocab_size": 300}
_MINIATURE = (Case("nano", 2, 32, 1, 1, False, 0.0, shape=_TINY, megabytes=0.1),)


def run() -> None:
    there = torch.cuda.is_available()
    if there:
        device = torch.device("cuda", 0)
        about = torch.cuda.get_device_properties(device)
        print(f"{about.name}, {about.total_memory >> 30} GiB, torch {torch.__version__}")
    else:
        device = torch.device("cpu")
        print("no CUDA device: a miniature on the CPU, its figures mean nothing")
    for case in _ON_GPU if there else _MINIATURE:
        with tempfile.TemporaryDirectory() as folder:
            _speed(case, Path(folder), device)
            if not case.compile:
                _memory(case, Path(folder), device)
    _rollouts(_ON_GPU[0] if there else _MINIATURE[0], device)


def _speed(case: Case, folder: Path, device: torch.device) -> None:
    speeds = speeds_of(case, folder)
    name = f"{_parameters(case)}M, {case.title.partition(', ')[2]}"
    report(name, speeds["ours"], speeds["trainer"], "Trainer", unit="tokens/s",
           at_least=case.limit)  # fmt: skip
    config = case.config(folder)
    precision = resolve_precision(device, case.precision)
    work = config.model.shape().flops_per_token(case.seq_len)
    mfu = work * speeds["ours"] / peak_flops(device, precision)
    print(f"{name:<38} MFU {100 * mfu:.1f} %", flush=True)


def _memory(case: Case, folder: Path, device: torch.device) -> None:
    """The simulation before a run beside what three steps took."""
    short = replace(case, steps=1, rounds=0)
    config = short.config(folder / "memory")
    guess = simulated(config).memory
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    host = EngineHost(config)
    host.run()
    assert not host.error, host.error
    took = f"{torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB measured" * (
        device.type == "cuda"
    )
    print(f"{_parameters(case)}M, memory: {guess / 2**30:.2f} GiB estimated, {took or '-'}")


def _rollouts(case: Case, device: torch.device) -> None:
    """Tokens a second of 64 answers of 128 tokens."""
    size, length = (64, 128) if device.type == "cuda" else (2, 4)
    config: RunConfig = case.config(Path())
    model = Decoder(config.model.shape())
    model.init_weights(0)
    model.to(device)
    precision = resolve_precision(device, case.precision)

    def answers() -> None:
        with autocast(device, precision):
            rollout(model, [[1, 2, 3, 4]] * 4, samples=size // 4 or 1, max_tokens=length,
                    temperature=1.0, top_p=1.0, seed=0, stop_ids=())  # fmt: skip

    answers()
    speed = max(4, size) * length / min(seconds(answers) for _ in range(rounds(3)))
    print(f"{_parameters(case)}M, rollouts: {speed:,.0f} tokens/s")


def _parameters(case: Case) -> str:
    return f"{case.config(Path()).model.shape().parameters / 1e6:.4g}"


if __name__ == "__main__":
    run()
