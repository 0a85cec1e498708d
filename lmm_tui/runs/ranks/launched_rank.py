"""A rank that torchrun, srun or mpirun started: it meets the others, and rank 0 opens the run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lmm_tui.engine.parallel.rank_store import KeyStore, connect
from lmm_tui.engine.run.launched_rank import launched_rank, launched_ranks
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.runs.ranks.meeting import Meeting
from lmm_tui.runs.ranks.nodes import expand_hosts, port_of
from lmm_tui.runs.ranks.open_run import RanksError, open_run
from lmm_tui.runs.ranks.shared_store import keep_store

if TYPE_CHECKING:
    from lmm_tui.engine.config.run_config import RunConfig

_LOCAL = (
    ("LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    ("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    ("SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"),
)


def rank_environment(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of torchrun for this rank, whichever launcher started it.

    Raises RanksError where the launcher does not say on which machine rank 0 is.
    """
    size = launched_ranks(env)
    local = next((pair for pair in _LOCAL if pair[0] in env), None)
    found = {
        "RANK": str(launched_rank(env)),
        "WORLD_SIZE": str(size),
        "LOCAL_RANK": env[local[0]] if local else "0",
        "LOCAL_WORLD_SIZE": env.get(local[1], str(size)) if local else "1",
    }
    if "MASTER_ADDR" not in env:
        hosts = [*expand_hosts(env.get("SLURM_STEP_NODELIST", ""))]
        if not hosts and found["LOCAL_WORLD_SIZE"] != found["WORLD_SIZE"]:
            raise RanksError(
                "MASTER_ADDR is not set, and the launcher does not name the machine of rank 0; "
                "set MASTER_ADDR and MASTER_PORT"
            )
        found["MASTER_ADDR"] = hosts[0] if hosts else "127.0.0.1"
    if "MASTER_PORT" not in env:
        found["MASTER_PORT"] = str(port_of(env))
    return found


def meet_as_rank(config: RunConfig, resume: RunDir | None) -> tuple[RunDir, int]:
    """The run, open for rank 0, and this rank; sets the variables of torchrun.

    Raises LmmError where the run cannot be opened, or another rank does not come.
    """
    os.environ.update(rank_environment())
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    if config.parallel.ranks not in (1, local):
        raise RanksError(
            "parallel.ranks is {ranks}, but the launcher has started {local} ranks on this "
            "machine; leave out --ranks",
            ranks=config.parallel.ranks,
            local=local,
        )
    timeout_s = float(config.parallel.timeout_s)
    store = _store(rank, timeout_s)
    attempt = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    names = tuple(f"rank {number}" for number in range(size))
    meeting = Meeting(store, names, rank, timeout_s, attempt=attempt)
    if rank:
        return meeting.follow(), rank
    try:
        meeting.wait_for_all()
        run = meeting.opened_before() or open_run(config, resume)
        meeting.announce(run)
    except LmmError as error:
        meeting.refuse(str(error))
        raise
    return run, rank


def _store(rank: int, timeout_s: float) -> KeyStore:
    """That of torchrun's agent, or one that rank 0 keeps and its process group shares."""
    address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if rank == 0 and not agent:
        return keep_store(address, timeout_s)[0]
    return connect(address, timeout_s)


if __name__ == "__main__":
    slurm = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1"}
    env = rank_environment(slurm | {"SLURM_STEP_NODELIST": "n[1-2]", "SLURM_NTASKS_PER_NODE": "4"})
    print(env)
    assert env["RANK"] == "5" and env["MASTER_ADDR"] == "n1"
    print("=== 自测通过 ===")
