"""What Slurm, torchrun and mpirun say of nodes and ranks."""

import pytest

from lmm_tui.engine.config.resolve import resolve
from lmm_tui.errors import LmmError
from lmm_tui.runs.ranks.launched_rank import rank_environment
from lmm_tui.runs.ranks.nodes import (
    NodesError,
    expand_hosts,
    nodes_of,
    starts_ranks,
    tasks_are_ranks,
)
from lmm_tui.runs.ranks.open_run import RanksError, local_ranks

TWO_NODES = {
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_NODEID": "1",
    "SLURM_PROCID": "1",
    "SLURM_JOB_ID": "123456",
}


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("gpu7", ["gpu7"]),
        ("gpu[1-3]", ["gpu1", "gpu2", "gpu3"]),
        ("gpu[08-10,12]-ib,login", ["gpu08-ib", "gpu09-ib", "gpu10-ib", "gpu12-ib", "login"]),
        ("a,b", ["a", "b"]),
        ("", []),
    ],
)
def test_lists_of_nodes_as_slurm_writes_them(text: str, hosts: list[str]) -> None:
    assert [*expand_hosts(text)] == hosts


def test_one_task_a_node_is_a_launcher_on_each() -> None:
    nodes = nodes_of(TWO_NODES)
    assert (nodes.names, nodes.index, nodes.first) == (("gpu07", "gpu08"), 1, "gpu07")
    assert nodes.port == 20_000 + 3456
    assert nodes_of(TWO_NODES | {"LMM_TUI_PORT": "4000"}).port == 4000
    assert not tasks_are_ranks(TWO_NODES)
    assert starts_ranks(resolve(), TWO_NODES) and not starts_ranks(resolve(), {})
    assert starts_ranks(resolve(assignments={"parallel.ranks": 0}), {})


def test_restarts_without_a_supervisor_are_refused() -> None:
    config = resolve(assignments={"parallel.restarts": 3})
    with pytest.raises(NodesError, match="add --ranks, or say --detach --retries 3"):
        starts_ranks(config, {})
    assert starts_ranks(config, TWO_NODES)


def test_one_task_a_gpu_is_a_rank_each() -> None:
    env = TWO_NODES | {"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1",
                       "SLURM_NTASKS_PER_NODE": "4"}  # fmt: skip
    assert tasks_are_ranks(env)
    assert rank_environment(env) == {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "4",
        "MASTER_ADDR": "gpu07",
        "MASTER_PORT": "23456",
    }


def test_what_torchrun_says_is_kept() -> None:
    env = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2",
           "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}  # fmt: skip
    assert env | rank_environment(env) == env


@pytest.mark.parametrize(
    ("env", "said"),
    [
        (TWO_NODES | {"SLURM_STEP_NODELIST": "gpu7"}, ": 1 of 2 nodes"),
        (TWO_NODES | {"SLURM_STEP_NODELIST": "gpu[1-"}, "not a list of nodes"),
        (TWO_NODES | {"SLURM_NODEID": "one"}, "SLURM_NODEID is 'one'; expected a whole number"),
    ],
)
def test_an_environment_that_does_not_fit_is_refused(env: dict[str, str], said: str) -> None:
    with pytest.raises(LmmError, match=said.replace("[", r"\[")):
        nodes_of(env)


def test_ranks_of_mpirun_on_several_machines_need_an_address() -> None:
    env = {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4",
           "OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}  # fmt: skip
    with pytest.raises(RanksError, match="MASTER_ADDR is not set"):
        rank_environment(env)
    assert rank_environment(env | {"MASTER_ADDR": "a"})["LOCAL_RANK"] == "1"


@pytest.mark.parametrize(
    ("ranks", "device", "gpus", "found"),
    [(4, "cpu", 0, 4), (4, "cpu", 8, 4), (4, "auto", 0, 4), (0, "auto", 8, 8), (2, "cuda", 8, 2)],
)
def test_how_many_ranks_a_machine_starts(ranks: int, device: str, gpus: int, found: int) -> None:
    config = resolve(assignments={"parallel.ranks": ranks, "device": device})
    assert local_ranks(config, gpus) == found


@pytest.mark.parametrize(
    ("ranks", "device", "gpus", "said"),
    [
        (9, "auto", 8, "9 ranks, but this machine has 8 GPUs"),
        (0, "cpu", 8, "0 means one a GPU, and there is none for device cpu"),
        (0, "auto", 0, "0 means one a GPU, and there is none for device auto"),
        (2, "cuda:1", 8, "several ranks cannot share the device cuda:1"),
        (2, "mps", 0, "several ranks cannot share the device mps"),
    ],
)
def test_ranks_that_a_machine_cannot_start(ranks: int, device: str, gpus: int, said: str) -> None:
    config = resolve(assignments={"parallel.ranks": ranks, "device": device})
    with pytest.raises(RanksError, match=said):
        local_ranks(config, gpus)
