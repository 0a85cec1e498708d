"""The workers of a sweep, which say in `workers/` of its folder that they are there."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

import psutil

from lmm_tui.engine.run.process_lives import process_lives
from lmm_tui.guarded_files import make_folder, read_text, remove, replace_text
from lmm_tui.sweeps.sweep_plan import SweepFolder

_DEAD_AFTER_S = 60.0
"""A worker of another machine that was silent for so long is dead."""


def beat(folder: SweepFolder, worker: str) -> None:
    """Say that this process is there, as that worker."""
    started = psutil.Process().create_time()
    found = {"time": time.time(), "host": socket.gethostname(), "pid": os.getpid()}
    make_folder(folder.path / "workers", folder.path)
    replace_text(_file(folder, worker), json.dumps(found | {"pid_started": started}), folder.path)


def sign_off(folder: SweepFolder, worker: str) -> None:
    """Say that the worker is no longer there."""
    with suppress(OSError):
        remove(_file(folder, worker), folder.path)


def worker_lives(folder: SweepFolder, worker: str) -> bool:
    """Whether a worker is there: its process on this machine, its word on another one."""
    try:
        found = json.loads(read_text(_file(folder, worker), folder.path))
        if found["host"] == socket.gethostname():
            return process_lives(found["pid"], found["pid_started"])
        return time.time() - float(found["time"]) < _DEAD_AFTER_S
    except (OSError, ValueError, TypeError, KeyError):
        return False


def live_workers(folder: SweepFolder) -> list[str]:
    """The workers that are there now."""
    try:
        names = [path.stem for path in (folder.path / "workers").iterdir()]
    except OSError:
        return []
    return sorted(name for name in names if worker_lives(folder, name))


def _file(folder: SweepFolder, worker: str) -> Path:
    return folder.path / "workers" / f"{worker}.json"


if __name__ == "__main__":
    import tempfile

    from lmm_tui.sweeps.axes import Axis
    from lmm_tui.sweeps.sweep_plan import SweepPlan

    with tempfile.TemporaryDirectory() as place:
        made = SweepFolder(Path(place), "demo")
        made.create(SweepPlan("demo", {}, (Axis("optim.lr", (1e-3, 3e-3)),), 2))
        beat(made, "here-1")
        print(live_workers(made), worker_lives(made, "gone"))
        assert live_workers(made) == ["here-1"]
    print("=== 自测通过 ===")
