"""A run directory with the files of a real one, and a thread that answers commands like a loop."""

import math
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

from lmm_tui.engine.run.control_mailbox import Mailbox, Reply, Request
from lmm_tui.engine.run.control_server import ControlServer
from lmm_tui.engine.run.jsonl_writer import JsonlWriter
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import RunInfo, RunStatus
from lmm_tui.metrics.names import PROBES
from lmm_tui.metrics.values import measured

LAYERS = ("embed", "layers.0", "layers.1", "layers.2", "layers.3", "norm")


class FakeRun:
    """Writes what an engine would write; `close` it at the end."""

    def __init__(self, path: Path, *, state: str = "running", total: int = 1000, **info) -> None:
        self.dir = RunDir(path)
        self.dir.create()
        now = time.time()
        self.info = RunInfo(
            **{
                "name": path.name,
                "stage": "pretrain",
                "created": now,
                "started": now - 60,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "pid_started": psutil.Process().create_time(),
                "device": "cpu",
                "precision": "fp32",
                "model": "nano",
                "parameters": 490_000,
                "socket": str(self.dir.socket_path()),
                "references": {"ln V": 6.931, "unigram": 5.9, "bigram": 3.9},
            }
            | info
        )
        self.dir.write_info(self.info)
        self.dir.config.write_text("[log]\nprobe_every = 50\n")
        self.status = RunStatus(state=state, total_steps=total, total_tokens=total * 4096)
        self.write_status()
        self.metrics = JsonlWriter(self.dir.metrics)
        self.events = JsonlWriter(self.dir.events)
        self.samples = JsonlWriter(self.dir.samples)
        self.asked: list[str] = []
        self._random = random.Random(0)
        self._server: ControlServer | None = None

    def write_status(self, **changes) -> None:
        self.status = replace(self.status, heartbeat=time.time(), **changes)
        self.dir.write_status(self.status)

    def train(self, first: int, last: int) -> None:
        """Rows, probes, events and samples of the steps `first` to `last`."""
        for step in range(first, last + 1):
            self.metrics.write(self._row(step))
            if step % 50 == 0:
                self.event(step, "probe", measured({"entropy": 6 - step / 400}, ".3f"))
                self.sample(step, "小兔子", f"went to the shop {step} times\nand said hello")
            if step % 200 == 0:
                self.event(step, "checkpoint", f"step-{step:09d}")
        left = self.status.total_steps - last
        self.write_status(
            step=last,
            tokens=last * 4096,
            loss=self._loss(last),
            tokens_per_s=20_480.0,
            eta_s=left / 5,
        )

    def event(self, step: int, kind: str, message: str, level: str = "info", **more) -> None:
        self.events.write(
            {"time": 1e9 + step, "step": step, "kind": kind, "level": level, "message": message}
            | more
        )

    def sample(self, step: int, prompt: str, text: str) -> None:
        self.samples.write(
            {"time": 1e9 + step, "step": step, "kind": "sample", "prompt": prompt, "text": text}
            | {"tokens": 12, "temperature": 0.8, "top_p": 0.95}
        )

    def serve(self, answer: Callable[[Request], Reply]) -> None:
        """Answer commands as `answer` says, from a thread of its own."""
        self._mailbox = Mailbox()
        self._server = ControlServer(self._mailbox, self.dir.socket_path())
        self._ended = threading.Event()

        def loop() -> None:
            while not self._ended.is_set():
                if request := self._mailbox.take(0.05):
                    self.asked.append(request.command)
                    request.answer(answer(request))

        self._thread = threading.Thread(target=loop, daemon=True)
        self._thread.start()

    def close(self) -> None:
        if self._server is not None:
            self._ended.set()
            self._thread.join()
            self._mailbox.close()
            self._server.close()
        for writer in (self.metrics, self.events, self.samples):
            writer.close()

    def _loss(self, step: int) -> float:
        return 2.6 + 4.3 * math.exp(-step / 220)

    def _row(self, step: int) -> dict[str, object]:
        noise = self._random.gauss(0, 0.12)
        loss = self._loss(step) + noise
        norm = 0.4 + 1.5 * math.exp(-step / 120) + abs(noise)
        row: dict[str, object] = {
            "step": step,
            "time": 1e9 + step / 5,
            "tokens": step * 4096,
            "epoch": step / 500,
            "train/loss": loss,
            "train/loss_ema": self._loss(step),
            "train/ppl": math.exp(loss),
            "train/lr": 3e-3 * min(step / 20, 1) * (0.55 + 0.45 * math.cos(math.pi * step / 1000)),
            "train/grad_norm": norm,
            "train/clip_rate": math.exp(-step / 120),
            "train/clip_ratio": 1 - 0.4 * math.exp(-step / 120),
            "train/tokens_per_s": 20_480 + 900 * self._random.gauss(0, 1),
            "train/steps_per_s": 5.0,
        }
        row |= {f"grad/{layer}": norm * (index + 1) / 8 for index, layer in enumerate(LAYERS)}
        if step % 50 == 0:
            row |= {"val/loss": self._loss(step) + 0.1, "val/ppl": math.exp(self._loss(step) + 0.1)}
            row |= {
                f"probe/{name}": 1 / (index + 1) + step / 4000 + noise / 40
                for index, name in enumerate(PROBES)
            }
        return row
