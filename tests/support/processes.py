"""Our program as a process of its own, and waiting for what it does."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

PROGRAM = [sys.executable, "-c", "from lmm_tui.cli.main import main; main()"]


ROOT = Path(__file__).resolve().parents[2]


def fake_ssh(folder: Path) -> dict[str, str]:
    """The environment for an `ssh` that runs its command here, and keeps its pids in `pids`.

    Once there is a file `silent` beside that, it neither answers nor heeds SIGTERM.
    """
    bin_folder = folder / "bin"
    bin_folder.mkdir(parents=True)
    silent = f"[ -e '{folder}/silent' ] && trap '' TERM && exec sleep 1000"
    for name, text in {
        "ssh": f"echo $$ >> '{folder}/pids'\n{silent}\necho Welcome\n"
        'for last; do :; done\neval "exec $last"',
        "lmm-tui": f"exec {PROGRAM[0]} -c '{PROGRAM[2]}' \"$@\"",
    }.items():
        (bin_folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (bin_folder / name).chmod(0o755)
    return {"PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def until(condition: Callable[[], object], seconds: float = 300) -> None:
    """Return once it holds; fail where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def files_opened(work: Callable[[], object]) -> int:
    """How many files and folders it opens."""
    with mock.patch.object(os, "open", wraps=os.open) as opened:
        work()
    return opened.call_count
