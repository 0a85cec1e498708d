"""Ranks that look the same at any time, written as a supervisor writes them."""

from lmm_tui.engine.parallel.hangs import find_hang
from lmm_tui.engine.run.rank_records import (
    RankBeat,
    RankEnd,
    RankTable,
    SupervisorRecord,
    write_ranks,
    write_supervisor,
)
from lmm_tui.engine.run.run_dir import RunDir

GIB = 1 << 30


def some_beats(size: int, *, gpus: int = 8, stuck: int | None = None) -> list[RankBeat]:
    """The last rank is slow and hot; with `stuck`, all wait for that one, which reads data."""
    beats = []
    for rank in range(size):
        slow = 1.4 if rank == size - 1 else 1.0 + (rank % 5) / 100
        waits = stuck is not None and rank != stuck
        beats.append(
            RankBeat(
                rank,
                node=f"node{rank // gpus + 1}",
                local_rank=rank % gpus,
                pid=4000 + rank,
                step=1234,
                phase="data" if rank == stuck else "all-reduce" if waits else "backward",
                phase_s=41.0 if stuck is not None else 0.1,
                step_s=0.42,
                waited_s=0.42 - 0.29 * slow,
                data_s=0.012,
                own_s=0.29 * slow,
                memory=(21 + rank % 3) * GIB,
                memory_limit=80 * GIB,
                memory_of="cuda",
                checksum="9f3a",
                checksum_step=1200,
                celsius=62.0 + 25 * (slow - 1),
                clock=1755.0 if slow < 1.2 else 1110.0,
                clock_max=1980.0,
                throttle=[] if slow < 1.2 else ["power cap"],
            )
        )
    return beats


def write_group(
    run: RunDir, beats: list[RankBeat], *, restarting: bool = False, killed: int | None = None
) -> None:
    """`supervisor.json` and `ranks.json` of these ranks."""
    hang = find_hang(beats)
    said = "" if hang is None else hang.sentence
    info = run.read_info()
    ends = [] if killed is None else [{"rank": killed, "node": "node1", "attempt": 0, "code": -9}]
    assert all(RankEnd(**end) for end in ends)
    write_ranks(run.ranks_file, RankTable(1.0, int(bool(ends)), len(beats), said, tuple(beats)))
    write_supervisor(
        run.supervisor_file,
        SupervisorRecord(
            "restarting" if restarting else "running",
            attempt=len(ends),
            restarts=3,
            ranks=len(beats),
            nodes=len({beat.node for beat in beats}),
            pid=info.pid,
            pid_started=info.pid_started,
            host=info.host,
            ends=ends,
        ),
    )
