"""Who holds up whom, told from what the ranks said last."""

from dataclasses import replace

import pytest

from lmm_tui.engine.parallel.hangs import find_hang
from lmm_tui.engine.run.rank_records import RankBeat


def group(size: int = 8, **common: object) -> list[RankBeat]:
    """Ranks that wait for each other in all-reduce, since 41 s."""
    told = {"node": "node1", "step": 8, "phase": "all-reduce", "phase_s": 41.0, "step_s": 0.4}
    return [RankBeat(rank, **(told | common)) for rank in range(size)]  # type: ignore[arg-type]


def said(beats: list[RankBeat]) -> str | None:
    hang = find_hang(beats)
    return None if hang is None else str(hang.sentence)


def test_the_rank_that_does_not_come_is_named_with_what_it_does() -> None:
    beats = group()
    beats[5] = replace(beats[5], node="node2", phase="data")
    assert said(beats) == (
        "rank 5 on node2 has been in data for 41 s; 7 ranks wait for it in all-reduce"
    )
    assert said(beats[4:6]) == (
        "rank 5 on node2 has been in data for 41 s; 1 rank waits for it in all-reduce"
    )


def test_several_ranks_and_a_process_that_stands_still() -> None:
    beats = group()
    beats[1] = replace(beats[1], phase="data", phase_s=50.0)
    beats[2] = replace(beats[2], phase="data", phase_s=45.0)
    assert said(beats) == (
        "ranks 1, 2 have been in data for 45 s; 6 ranks wait for them in all-reduce"
    )
    beats = group()
    beats[3] = replace(beats[3], silent_s=9.0)
    assert said(beats) == (
        "rank 3 on node1 has not answered for 9 s, last seen in all-reduce; "
        "7 ranks wait for it in all-reduce"
    )


def test_where_all_stand_in_a_collective_the_one_that_is_behind_is_named() -> None:
    """Under FSDP a rank that hangs in a layer holds the others up in a later one."""
    beats = group(4, phase="forward", changes=7)
    beats[2] = replace(beats[2], changes=6)
    hang = find_hang(beats)
    assert hang is not None and hang.ranks == (2,)
    beats = group(4)
    beats[0] = replace(beats[0], step=7)
    hang = find_hang(beats)
    assert hang is not None and hang.ranks == (0,)


def test_where_nobody_is_behind_all_are_named() -> None:
    assert said(group()) == "all 8 ranks have been in all-reduce for 41 s"


@pytest.mark.parametrize(
    "change",
    [
        {"phase": "paused"},
        {"phase": "data", "phase_s": 1.0},  # It only just got there.
        {"phase": "data", "phase_s": 2.9},
        {"phase": "checkpoint"},  # As long as a minute.
        {"phase": ""},
    ],
)
def test_what_takes_its_time_is_no_hang(change: dict[str, object]) -> None:
    beats = group()
    beats[5] = replace(beats[5], **change)  # type: ignore[arg-type]
    assert find_hang(beats) is None


def test_patience_grows_with_the_length_of_a_step() -> None:
    slow = group(step_s=20.0)
    slow[5] = replace(slow[5], phase="data")
    assert find_hang(slow) is None
    quick = group(step_s=0.4, phase_s=3.1)
    quick[5] = replace(quick[5], phase="data")
    assert find_hang(quick) is not None
    first = group(step_s=None)
    first[5] = replace(first[5], phase="forward", phase_s=20.0)
    assert find_hang(first) is None


def test_one_rank_never_hangs() -> None:
    assert find_hang(group(1, phase="data")) is None
