"""The rank that each launcher puts into the environment."""

from __future__ import annotations

import pytest

from lmm_tui.engine.run.launched_rank import RankError, launched_rank, launched_ranks

SLURM = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_NTASKS": "8"}


@pytest.mark.parametrize(
    ("env", "rank"),
    [
        ({}, 0),
        ({"RANK": "3", "LOCAL_RANK": "1"}, 3),
        ({"RANK": "0", **SLURM}, 0),
        (SLURM, 5),
        ({"SLURM_PROCID": "1"}, 1),
        ({"OMPI_COMM_WORLD_RANK": "2"}, 2),
        ({"PMI_RANK": "4"}, 4),
        ({"LOCAL_RANK": "1"}, 1),
        ({"LOCAL_RANK": "1", "NODE_RANK": "2", "LOCAL_WORLD_SIZE": "4"}, 9),
    ],
)
def test_each_launcher_says_the_rank_in_its_own_way(env: dict[str, str], rank: int) -> None:
    assert launched_rank(env) == rank


def test_the_first_process_of_another_node_is_not_rank_0() -> None:
    assert launched_rank({"LOCAL_RANK": "0", "NODE_RANK": "1"}) != 0


def test_one_slurm_task_does_not_hide_the_ranks_that_it_starts_itself() -> None:
    task = {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}
    assert launched_rank(task) == 0 and launched_rank(task | {"LOCAL_RANK": "1"}) == 1


def test_mpirun_in_a_batch_script_of_slurm_is_believed() -> None:
    batch = {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}
    assert launched_rank(batch | {"OMPI_COMM_WORLD_RANK": "3"}) == 3
    assert launched_ranks(batch) == 1  # The script itself is one process.


def test_a_rank_that_is_no_number_is_refused() -> None:
    with pytest.raises(RankError, match="RANK is 'first'"):
        launched_rank({"RANK": "first"})
