"""One CUDA GPU in four minutes: options, speed, MFU, waits of the host, rollouts and memory.

For whoever has a card: `python -m benchmarks gpu`. First each option of the step with and without;
then each shape in bf16 with and without compile, in turns with transformers' Trainer on the same
shape, tokens and optimiser; from the fourth step on it is an error if our host waits for the GPU.
What would begin when the time is over is named and left out. Without a GPU a miniature runs on the
CPU, so that the script stays alive; its figures mean nothing.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import report, rounds, seconds
from benchmarks.train_step import Case, speeds_of
from lmm_tui.engine.config.resolve import with_changes
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.device import autocast, peak_flops, resolve_precision
from lmm_tui.engine.generation.rollout import rollout
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.training.run_host import EngineHost
from lmm_tui.metrics.names import TOKENS_PER_S
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

_GRAPHS: dict[str, Any] = {"train.cuda_graphs": "on"}
_WITH_OPTIONS: tuple[tuple[Case, list[dict[str, Any]]], ...] = (
    (Case("nano", 16, 256, 60, 3, True, 0.0, "cuda", "bf16"), [_GRAPHS]),
    (Case("nano", 16, 256, 60, 3, False, 0.0, "cuda", "bf16"), [_GRAPHS]),
    (Case("minimind-104m", 8, 512, 20, 3, True, 0.0, "cuda", "bf16"), [_GRAPHS]),
    (
        Case("minimind-104m", 8, 2048, 10, 3, True, 0.0, "cuda", "bf16", HALF_BILLION),
        [_GRAPHS, {"train.fp8": True}, {"optim.state_dtype": "8bit"}],
    ),
)
_FEW_OPTIONS = ((replace(_MINIATURE[0], steps=3), [{"optim.state_dtype": "8bit"}, _GRAPHS]),)
_SECONDS = 180.0
"""After which no other part begins; the longest takes a minute."""


def run() -> None:
    there = torch.cuda.is_available()
    if there:
        device = torch.device("cuda", 0)
        about = torch.cuda.get_device_properties(device)
        print(f"{about.name}, {about.total_memory >> 30} GiB, torch {torch.__version__}")
    else:
        device = torch.device("cpu")
        print("no CUDA device: a miniature on the CPU, its figures mean nothing")
    cases = _ON_GPU if there else _MINIATURE
    parts: list[tuple[str, Callable[[Path], None]]] = [
        *((f"options of {_name(case)}", partial(_options, case, options, device))
          for case, options in (_WITH_OPTIONS if there else _FEW_OPTIONS)),
        ("rollouts", lambda _: _rollouts(cases[0], device)),
        *((_name(case), partial(_speed_and_memory, case, device=device)) for case in cases),
    ]  # fmt: skip
    start = time.perf_counter()
    for name, part in parts:
        if time.perf_counter() - start > _SECONDS:
            print(f"{name}: left out, the time is over")
            continue
        with tempfile.TemporaryDirectory() as folder:
            part(Path(folder))


def _options(
    case: Case, options: Sequence[dict[str, Any]], device: torch.device, folder: Path
) -> None:
    """Speed, peak of memory and last loss, first as it is and then with each option."""
    wanted = 0.0
    for number, option in enumerate(({}, *options)):
        config = with_changes(case.config(folder), option | {"name": f"run-{number}"})
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        host = EngineHost(config)
        host.run()
        said = ", ".join(f"{key} = {value}" for key, value in option.items()) or "as it is"
        name = f"{_name(case)}, {said}"
        if host.error:
            print(f"{name}: {host.error}", flush=True)
            continue
        rows = [json.loads(line) for line in host.run_dir.metrics.read_text().splitlines()]
        late = rows[len(rows) // 2 :]
        speed = statistics.median(row[TOKENS_PER_S] for row in late if TOKENS_PER_S in row)
        loss = rows[-1]["train/loss"]
        wanted = wanted or loss
        peak = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
        print(
            f"{name:<62} {speed:12,.0f} tokens/s  {peak:6.2f} GiB  loss {loss:.5f} "
            f"({(loss - wanted) / wanted:+.1e})",
            flush=True,
        )


def _speed_and_memory(case: Case, folder: Path, device: torch.device) -> None:
    _speed(case, folder, device)
    if not case.compile:
        _memory(case, folder, device)


def _name(case: Case) -> str:
    return f"{_parameters(case)}M, {case.title.partition(', ')[2]}"


def _speed(case: Case, folder: Path, device: torch.device) -> None:
    speeds = speeds_of(case, folder)
    name = _name(case)
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
    sys.exit(run())
