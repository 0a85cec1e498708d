"""Training scripts as processes of their own, alone or as the ranks of a gloo group.

They are forked from a process that has imported torch.
"""

from __future__ import annotations

import os
import socket
import textwrap
from collections.abc import Mapping
from pathlib import Path

from forked import Forked
from repository import ROOT

_LARGE = ("transformers.trainer", "lightning.pytorch")
_LAUNCHERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "NODE_RANK", "PMI_", "OMPI_", "SLURM_")


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours, without what a launcher may have set, and one thread a process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_LAUNCHERS)}
    return kept | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | dict(more or {})


def _write(folder: Path, text: str) -> Path:
    path = folder / "script.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def begin_script(
    folder: Path, text: str, *args: str, env: Mapping[str, str] | None = None
) -> Forked:
    """Start a script that is a file in `folder`, which is its working directory."""
    large = [name for name in _LARGE if f"from {name.partition('.')[0]}" in text]
    return Forked([_write(folder, text), *args], folder, environment(env), large)


def run_script(folder: Path, text: str, *args: str, env: Mapping[str, str] | None = None) -> str:
    """What a script prints; it must succeed."""
    process = begin_script(folder, text, *args, env=env)
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out + err


def begin_ranks(folder: Path, text: str, count: int = 2) -> list[Forked]:
    """Start a script once for each rank, as torchrun would."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    return [begin_script(folder, text, env=group | rank) for rank in ranks]


def outputs(processes: list[Forked]) -> list[str]:
    """What each process prints; all must succeed."""
    said = [process.communicate(timeout=240) for process in processes]
    for process, (_, err) in zip(processes, said, strict=True):
        assert process.returncode == 0, err
    return [out for out, _ in said]
