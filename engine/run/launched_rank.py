"""The rank of this process, as the launcher that started it says in the environment.

Free of torch: the command line asks too, before anything is imported.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from lmm_tui.errors import LmmError

_LAUNCHERS = (
    ("RANK", "WORLD_SIZE"),  # torchrun, accelerate, DeepSpeed
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)
"""Rank and number of ranks. MPI stands before Slurm: `mpirun` in a batch script passes the script's
own SLURM_PROCID of 0 on to every rank."""


class RankError(LmmError):
    """A rank that is not a whole number, or ranks where one process is expected."""


def launched_rank(env: Mapping[str, str] = os.environ) -> int:
    """0 without a launcher. Raises RankError for a value that is not a whole number."""
    for rank, world in _LAUNCHERS:
        # Of one Slurm task, Lightning starts the other ranks itself: LOCAL_RANK tells them apart.
        alone = rank == "SLURM_PROCID" and env.get(world, env.get("SLURM_NTASKS")) == "1"
        if rank in env and not alone:
            return whole_number(env, rank)
    local, node = whole_number(env, "LOCAL_RANK"), whole_number(env, "NODE_RANK")
    return node * max(whole_number(env, "LOCAL_WORLD_SIZE"), 1) + local if node else local


def launched_ranks(env: Mapping[str, str] = os.environ) -> int:
    """How many processes the launcher started; 1 without one, or where it does not say."""
    for rank, world in _LAUNCHERS:
        if rank in env and env.get(world, "").isdecimal():
            return int(env[world])
    return 1


def require_one_process(what: str, env: Mapping[str, str] = os.environ) -> None:
    """Raises RankError under a launcher of several processes."""
    if (ranks := launched_ranks(env)) > 1:
        raise RankError(
            "{what}: was started as {ranks} processes, but runs in one; start it "
            "without torchrun, accelerate, srun or mpirun",
            what=what,
            ranks=ranks,
        )


def whole_number(env: Mapping[str, str], name: str, otherwise: int = 0) -> int:
    """What a launcher says in a variable; `otherwise` where it is unset or empty."""
    value = env.get(name) or str(otherwise)
    if not value.isdecimal():
        raise RankError(
            "{name} is {value!r}; expected a whole number, as a launcher sets it (a script may "
            "pass rank= to lmm_run)",
            name=name,
            value=value,
        )
    return int(value)


if __name__ == "__main__":
    print(launched_rank({"RANK": "3"}), launched_rank({"NODE_RANK": "1", "LOCAL_WORLD_SIZE": "4"}))
    assert launched_ranks({"PMI_RANK": "0", "PMI_SIZE": "2"}) == 2
    print("=== 自测通过 ===")
