"""Beats of real processes: published while they hang, and their stacks when asked for."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked import Forked
from processes import until
from repository import ROOT

from lmm_tui.engine.parallel.beats import Beats, RankMemory
from lmm_tui.engine.parallel.rank_numbers import rank_numbers
from lmm_tui.engine.parallel.rank_store import STORE, MemoryStore, RankStore
from lmm_tui.engine.run.rank_records import RankBeat, RankTable, read_ranks, write_ranks
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.metrics import names

SCRIPT = ROOT / "tests/support/beating_rank.py"


def test_a_step_is_measured_by_its_phases() -> None:
    beats = Beats.alone()
    for phase, seconds in (("data", 0.02), ("forward", 0.03), ("all-reduce", 0.04)):
        beats.phase(phase)
        time.sleep(seconds)
    beats.phase("checkpoint")
    time.sleep(0.05)
    beats.end_step(1)
    beat = beats.beat()
    assert beat.step_s is not None and beat.data_s is not None and beat.own_s is not None
    assert beat.waited_s is not None and beat.waited_s >= 0.04 and beat.data_s >= 0.02
    # Neither what it waits for others nor the checkpoint is its own time.
    assert 0.05 <= beat.own_s <= beat.step_s - 0.09
    assert 0 < (beat.memory or 0) < (beat.memory_limit or 0) and beat.memory_of == "host"
    assert beat.phase == "checkpoint"
    beats.memory = lambda: RankMemory(3, 4, "cuda")
    beat = beats.beat()
    assert (beat.memory, beat.memory_limit, beat.memory_of) == (3, 4, "cuda")


def test_silence_is_measured_by_the_clock_of_who_looks() -> None:
    store = MemoryStore()
    RankStore(store, 0, 2).publish(RankBeat(1, phase="data", phase_s=2.0))
    ranks = RankStore(store, 0, 2)
    (now,) = ranks.beats(now=100.0)
    (later,) = ranks.beats(now=104.5)
    assert (now.silent_s, now.phase_s) == (0.0, 2.0)
    assert (later.silent_s, later.phase_s) == (4.5, 6.5)
    assert not RankStore(store, attempt=1, size=2).beats()


def test_a_damaged_table_shows_what_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "ranks.json"
    write_ranks(file, RankTable(1.0, 0, 2, "", (RankBeat(0), RankBeat(1))))
    file.write_text(file.read_text().replace('"rank": 1', '"rank": "one"'))
    table = read_ranks(file)
    assert table is not None and [beat.rank for beat in table.ranks] == [0]
    assert table.missing == [1]
    for text in ("", "[]", '{"ranks": 3}', '{"size": "two"}', "{" * 5000):
        file.write_text(text)
        assert read_ranks(file) is None


def test_numbers_for_charts_and_rules() -> None:
    beats = [
        RankBeat(rank, own_s=0.1 + 0.04 * (rank == 2), own_steps=50, step_s=0.2, waited_s=0.1,
                 memory=10 + rank, memory_limit=100, celsius=60.0, checksum="ab", checksum_step=4)
        for rank in range(4)
    ]  # fmt: skip
    assert rank_numbers(beats) == pytest.approx(
        {
            names.SLOWEST_RANK: 2,
            names.SLOWEST_RANK_TIMES: 1.4,
            names.SLOWEST_RANK_MS: 40,
            names.RANKS_WAITED: 0.5,
            names.RANKS_MEMORY_SPREAD: 0.03,
            names.RANKS_THROTTLED: 0,
            names.RANKS_DIFFERING: 0,
        }
    )
    assert rank_numbers(beats[:1]) == {}
    early = [RankBeat(rank, own_s=0.1, own_steps=49) for rank in range(2)]
    assert rank_numbers(early) == {}
    odd = [RankBeat(rank, checksum="ab" if rank else "cd", checksum_step=4) for rank in range(3)]
    assert rank_numbers(odd) == {names.RANKS_DIFFERING: 1}
    between = [RankBeat(rank, checksum="ab", checksum_step=4 + rank) for rank in range(3)]
    assert rank_numbers(between) == {}


@pytest.fixture
def two_ranks(tmp_path: Path) -> Iterator[tuple[RunDir, list[Forked], RankStore]]:
    """Two processes that make steps, and the store in which they publish."""
    from torch.distributed import TCPStore

    run = RunDir(tmp_path / "run")
    run.create()
    run.ranks.mkdir()
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    common = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "WORLD_SIZE": "2"}
    common[STORE] = f"127.0.0.1:{server.port}"
    ranks = [
        Forked([SCRIPT, run.path], tmp_path, common | {"RANK": str(rank)}) for rank in range(2)
    ]
    yield run, ranks, RankStore(server, 0, 2)
    (run.path / "stuck").unlink(missing_ok=True)
    (run.path / "end").touch()
    for rank in ranks:
        rank.wait()


def test_a_hang_gets_its_name_and_all_stacks_can_be_had(
    two_ranks: tuple[RunDir, list[Forked], RankStore],
) -> None:
    from lmm_tui.engine.parallel.hangs import find_hang
    from lmm_tui.engine.parallel.rank_watch import RankWatch
    from lmm_tui.runs.ranks.stack_dump import collect_stacks

    run, processes, ranks = two_ranks
    told: list[str] = []
    watch = RankWatch(run, ranks, 0, lambda hang, step: told.append(str(hang.sentence)))
    until(lambda: all(beat.step_s for beat in ranks.beats()) and len(ranks.beats()) == 2)
    table = watch.look()
    assert not table.missing and not told and find_hang(table.ranks) is None
    assert {beat.pid for beat in table.ranks} == {process.pid for process in processes}

    (run.path / "stuck").touch()
    began = time.monotonic()
    until(lambda: watch.look().hang)
    assert time.monotonic() - began > 2.9  # Not before it is one.
    until(lambda: watch.look().hang)
    assert len(told) == 1  # Once, however often one looks.
    node = table.ranks[1].node
    assert told[0].startswith(f"rank 1 on {node} has been in data for ")
    assert told[0].endswith("; 1 rank waits for it in all-reduce")

    from threading import Thread

    done: list[bool] = []

    def pass_on() -> None:
        while not done:
            watch.pass_on_requests()
            time.sleep(0.02)

    thread = Thread(target=pass_on)
    thread.start()
    report = collect_stacks(run)
    done.append(True)
    thread.join()
    assert report.silent == () and len(report.groups) == 2
    for group in report.groups:
        functions = [frame.function for frame in group.main]
        assert functions[0] == "wait_while" and "<module>" in functions
    assert {group.ranks for group in report.groups} == {(0,), (1,)}
