"""Which machines take part, as Slurm's environment says: one process of ours a node. Torch-free."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lmm_tui.engine.run.launched_rank import launched_ranks, whole_number
from lmm_tui.errors import LmmError

if TYPE_CHECKING:
    from lmm_tui.engine.config.run_config import RunConfig

_FIRST_PORT, _PORTS = 20_000, 10_000
"""Of several nodes, by the number of the job: below the ports that Linux gives to clients."""
PORT = "LMM_TUI_PORT"
"""Environment: the port of the store on the first node, where the default is in use."""


class NodesError(LmmError):
    """An environment that names no nodes, or not enough of them."""


@dataclass(frozen=True)
class Nodes:
    """The machines of a run; this one is `names[index]`."""

    names: tuple[str, ...] = field(default_factory=lambda: (socket.gethostname(),))
    index: int = 0
    port: int = 0
    """Of the store on the first of them; 0: any."""
    job: str = "lmm-tui"

    @property
    def several(self) -> bool:
        return len(self.names) > 1

    @property
    def first(self) -> str:
        """Where the store is."""
        return self.names[0] if self.several else "127.0.0.1"


def nodes_of(env: Mapping[str, str] = os.environ) -> Nodes:
    """This machine alone, or the nodes of an `srun` with one task a node.

    Raises NodesError for an environment that does not fit together.
    """
    count = whole_number(env, "SLURM_STEP_NUM_NODES", 1)
    if count == 1:
        return Nodes()
    listed = env.get("SLURM_STEP_NODELIST") or env.get("SLURM_JOB_NODELIST") or ""
    names = tuple(expand_hosts(listed))
    if len(names) != count:
        raise NodesError(
            "SLURM_STEP_NODELIST is {listed!r}: {found} of {count} nodes, by "
            "SLURM_STEP_NUM_NODES; start it by srun",
            listed=listed,
            found=len(names),
            count=count,
        )
    job = env.get("SLURM_JOB_ID", "0")
    return Nodes(names, whole_number(env, "SLURM_NODEID"), port_of(env), f"slurm-{job}")


def port_of(env: Mapping[str, str] = os.environ) -> int:
    """LMM_TUI_PORT, else one by the number of the Slurm job."""
    job = env.get("SLURM_JOB_ID", "0")
    return whole_number(env, PORT, _FIRST_PORT + (int(job) if job.isdecimal() else 0) % _PORTS)


def tasks_are_ranks(env: Mapping[str, str] = os.environ) -> bool:
    """Whether `srun` started more tasks than nodes: each of them is a rank, not a launcher."""
    tasks = whole_number(env, "SLURM_STEP_NUM_TASKS", 1)
    return tasks > max(whole_number(env, "SLURM_STEP_NUM_NODES", 1), 1)


def is_rank() -> bool:
    """Whether a launcher started this process as one of several ranks."""
    return launched_ranks() > 1 and (tasks_are_ranks() or not nodes_of().several)


def starts_ranks(config: RunConfig, env: Mapping[str, str] = os.environ) -> bool:
    """Whether a run needs a supervisor: several ranks, one a GPU, or several nodes.

    Raises NodesError where restarts are asked for without one.
    """
    several = config.parallel.ranks != 1 or nodes_of(env).several
    if config.parallel.restarts and not several:
        raise NodesError(
            "parallel.restarts: one process has no supervisor that restarts it; add --ranks, or "
            "say --detach --retries {restarts}",
            restarts=config.parallel.restarts,
        )
    return several


def expand_hosts(text: str) -> Iterator[str]:
    """The names in Slurm's short form: `gpu[01-03,7],login` are gpu01, gpu02, gpu03, gpu7, login.

    Raises NodesError for a form that it does not read.
    """
    for part in filter(None, re.split(r",(?![^\[]*\])", text)):
        match = re.fullmatch(r"([^\[\]]*)(?:\[([0-9,-]+)\]([^\[\]]*))?", part)
        if match is None:
            raise NodesError("{text!r}: not a list of nodes as Slurm writes it", text=text)
        before, numbers, after = match.groups()
        if numbers is None:
            yield before
            continue
        for one in numbers.split(","):
            first, _, last = one.partition("-")
            for number in range(int(first), int(last or first) + 1):
                yield f"{before}{number:0{len(first)}d}{after}"


if __name__ == "__main__":
    print(*expand_hosts("gpu[01-03,7],login"))
    assert [*expand_hosts("a[9-11]-ib")] == ["a9-ib", "a10-ib", "a11-ib"]
    print(nodes_of({"SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NODELIST": "n[1-2]"}))
    print("=== 自测通过 ===")
