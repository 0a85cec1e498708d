"""Run directories made by hand, for tests that look at runs without training one."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import RunInfo, RunStatus
from lmm_tui.metrics import names

INFO = RunInfo(
    name="",
    stage="pretrain",
    created=time.time() - 90,
    started=time.time() - 90,
    host=socket.gethostname(),
    pid=os.getpid(),
    pid_started=psutil.Process().create_time(),
    device="cpu",
    precision="fp32",
    model="nano",
    parameters=528_000,
    references={"ln V": 6.93, "unigram": 5.5, "bigram": 3.1},
)
STATUS = RunStatus("finished", 100, 100, 409_600, 409_600, loss=2.5, val_loss=2.75)


def make_run(folder: Path, name: str = "demo", *, rows: int = 0, **changes: Any) -> RunDir:
    """A run whose `run.json` and `status.json` differ from INFO and STATUS by `changes`.

    Its loss falls from 6.93 towards 2.5 over `rows` steps.
    """
    run = RunDir(folder / name)
    run.create()
    info = {key: value for key, value in changes.items() if hasattr(INFO, key)}
    status = {key: value for key, value in changes.items() if key not in info}
    run.write_info(replace(INFO, name=name, **info))
    run.write_status(replace(STATUS, **{"heartbeat": time.time(), **status}))
    with run.metrics.open("w", encoding="utf-8") as file:
        for step in range(1, rows + 1):
            loss = 2.5 + 4.43 * 0.97 ** (step - 1)
            row: dict[str, Any] = {"step": step, "time": INFO.started + step, "tokens": step * 4096}
            row |= {names.TRAIN_LOSS: loss, names.TRAIN_LOSS_EMA: loss, names.LR: 1e-3}
            row |= {names.VAL_LOSS: loss + 0.1} if step % 10 == 0 else {}
            file.write(json.dumps(row) + "\n")
    return run
