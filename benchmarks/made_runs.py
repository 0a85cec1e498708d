"""Runs that were never trained: a finished one of any length, and one that is written live."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import RunInfo, RunStatus

HISTORY = 2000
STEPS_PER_S = 50
SCALARS = 10


def make_finished_run(path: Path, steps: int = HISTORY) -> RunDir:
    """A run of `steps` steps of ten scalars."""
    run = RunDir(path)
    run.create()
    now = time.time()
    references = {"ln V": 6.93, "unigram": 6.1, "bigram": 4.0}
    run.write_info(
        RunInfo(path.name, "pretrain", now, now, "elsewhere", 1, now, references=references)
    )
    run.write_status(RunStatus("finished", steps, steps, loss=2.5))
    with run.metrics.open("w", encoding="utf-8") as file:
        file.writelines(_row(step) for step in range(1, steps + 1))
    return run


@contextmanager
def live(run: RunDir) -> Iterator[None]:
    """Append rows and heartbeats at `STEPS_PER_S`, as a training loop does."""
    ended = threading.Event()

    def write() -> None:
        status = RunStatus("running", total_steps=100_000, total_tokens=409_600_000)
        with run.metrics.open("a") as file:
            for step in range(HISTORY + 1, status.total_steps):
                file.write(_row(step))
                file.flush()
                if step % STEPS_PER_S == 0:
                    status = replace(
                        status,
                        step=step,
                        tokens=step * 4096,
                        heartbeat=time.time(),
                        eta_s=(status.total_steps - step) / STEPS_PER_S,
                        tokens_per_s=STEPS_PER_S * 4096.0,
                    )
                    run.write_status(status)
                if ended.wait(1 / STEPS_PER_S):
                    return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()


def _row(step: int) -> str:
    noise = math.sin(step * 12.9898) * 43758.5453 % 1 - 0.5
    loss = 2.5 + 4.4 * math.exp(-step / 300) + 0.3 * noise
    row = {"step": step, "time": 1e9 + step / STEPS_PER_S, "tokens": step * 4096}
    row |= {"train/loss": loss, "train/loss_ema": loss - 0.3 * noise, "train/ppl": math.exp(loss)}
    row |= {"train/lr": 1e-3 / (1 + step / 1e4), "train/grad_norm": 1 + noise**2}
    row |= {"train/clip_rate": 0.4 + 0.1 * noise, "train/tokens_per_s": 2e5 * (1 + 0.05 * noise)}
    row |= {f"grad/layers.{layer}": 0.3 + 0.1 * layer + 0.1 * noise for layer in range(3)}
    return json.dumps(row) + "\n"
