"""Training scripts as processes of their own, alone or as the ranks of a gloo group."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from repository import ROOT

_LAUNCHERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "NODE_RANK", "PMI_", "OMPI_", "SLURM_")


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours, without what a launcher may have set, and one thread a process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_LAUNCHERS)}
    return kept | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | dict(more or {})


def begin_script(
    folder: Path, text: str, *args: str, env: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a script that is a file in `folder`, which is its working directory."""
    path = folder / "script.py"
    path.write_text(textwrap.dedent(text))
    return subprocess.Popen(
        [sys.executable, str(path), *args],
        cwd=folder,
        env=environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_script(folder: Path, text: str, *args: str, env: Mapping[str, str] | None = None) -> str:
    """What a script prints; it must succeed."""
    process = begin_script(folder, text, *args, env=env)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return out + err


def begin_ranks(folder: Path, text: str, count: int = 2) -> list[subprocess.Popen[str]]:
    """Start a script once for each rank, as torchrun would."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    return [begin_script(folder, text, env=group | rank) for rank in ranks]


def outputs(processes: list[subprocess.Popen[str]]) -> list[str]:
    """What each process prints; all must succeed."""
    said = [process.communicate(timeout=240) for process in processes]
    for process, (_, err) in zip(processes, said, strict=True):
        assert process.returncode == 0, err
    return [out for out, _ in said]
