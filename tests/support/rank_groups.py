"""Groups of ranks for tests: forked processes on gloo, with one thread each."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forked import Forked
from repository import ROOT

_IMPORTS = (
    "lmm_tui.engine.stages.sft",
    "lmm_tui.engine.stages.dpo",
    "lmm_tui.engine.stages.grpo",
    "lmm_tui.engine.stages.distill",
    "peft",
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def start_ranks(size: int, script: Path, args: Sequence[str], folder: Path) -> list[Forked]:
    """`size` processes of a script, which find one another as torchrun's do."""
    port = str(free_port())
    common = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        Forked(
            [script, *args], folder, common | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, _IMPORTS
        )
        for rank in range(size)
    ]


def train_on(size: int, jobs: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Train runs, one after another, on a group of `size` ranks; each has to end well."""
    listed = folder / f"jobs-{size}.json"
    listed.write_text(json.dumps(list(jobs)))
    group = start_ranks(size, ROOT / "tests/support/rank_jobs.py", [str(listed)], folder)
    said = [process.communicate() for process in group]
    codes = [process.wait() for process in group]
    assert codes == [0] * size, "\n".join(
        f"rank {rank}: {err}" for rank, (_, err) in enumerate(said)
    )
