"""`ranks.json` and `supervisor.json`: what the ranks of a run do, and who restarts them.

The supervisor of the run writes both, or rank 0 writes `ranks.json` where another launcher
(torchrun, srun) started the ranks; screens and commands read them. A run of one process has
neither.
"""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lmm_tui.engine.run.process_lives import process_lives
from lmm_tui.engine.run.run_records import read_record, record_from
from lmm_tui.guarded_files import read_bytes, replace_text
from lmm_tui.message import Message, with_parts

OUT_OF_MEMORY = 77
"""Exit code of a rank that ran out of memory in the middle of a step."""
REFUSED = 2
"""Exit code of a rank whose settings cannot be trained: another attempt would end alike."""

_LIMIT = 8 << 20
"""Bytes of ranks.json: thousands of ranks have a few hundred bytes each."""
_SILENT_S = 15.0
_KEPT_ENDS = 64


@dataclass(frozen=True)
class RankBeat:
    """What a rank said last; seconds, bytes, °C and MHz."""

    rank: int
    node: str = ""
    local_rank: int = 0
    pid: int = 0
    step: int = 0
    phase: str = ""
    """What it does now: data, forward, backward, all-reduce, optimizer, checkpoint, …"""
    phase_s: float = 0.0
    """How long it has been in that phase."""
    silent_s: float = 0.0
    """How long nothing came from it; more than a few seconds: its process stands still."""
    changes: int = 0
    """Changes of phase since the step began; of ranks in one step, the least is behind."""
    step_s: float | None = None
    waited_s: float | None = None
    """Of the last step: spent waiting for the other ranks."""
    data_s: float | None = None
    """Of the last step: spent waiting for data."""
    own_s: float | None = None
    """Mean over the last 50 steps of a step's time without waiting for others."""
    own_steps: int = 0
    """Of how many steps that is the mean, up to 50."""
    memory: int | None = None
    memory_limit: int | None = None
    memory_of: str = ""
    """`host`, `cuda` or `mps`; empty as older versions wrote it."""
    checksum: str = ""
    checksum_step: int = 0
    """The step after which the replicated weights had the checksum."""
    celsius: float | None = None
    clock: float | None = None
    clock_max: float | None = None
    throttle: list[str] = field(default_factory=list)
    """Why the clock is held down; empty where it is not."""

    @property
    def memory_share(self) -> float | None:
        """Of the limit, 0 to 1."""
        if self.memory is None or not self.memory_limit:
            return None
        return self.memory / self.memory_limit


@dataclass(frozen=True)
class RankTable:
    """`ranks.json`: all ranks once a second, those that said nothing yet left out."""

    at: float = 0.0
    """When it was written, in unix seconds."""
    attempt: int = 0
    size: int = 0
    hang: str = ""
    """Who holds up whom, as a sentence; empty while the steps go on."""
    ranks: tuple[RankBeat, ...] = ()

    @property
    def missing(self) -> list[int]:
        """Ranks that have said nothing yet in this attempt."""
        known = {beat.rank for beat in self.ranks}
        return [rank for rank in range(self.size) if rank not in known]


@dataclass(frozen=True)
class RankEnd:
    """How a rank ended before its work was done; a negative `code` is a signal."""

    rank: int
    node: str = ""
    attempt: int = 0
    code: int = 0
    error: str = ""
    """The last line of its log."""
    at: float = 0.0

    @property
    def sentence(self) -> Message:
        """Such as `rank 1 on node2 was killed by SIGKILL`."""
        rank, node, code = self.rank, self.node, self.code
        if code < 0:
            return Message(
                "rank {rank} on {node} was killed by {name}",
                rank=rank,
                node=node,
                name=signal_name(-code),
            )
        if code == OUT_OF_MEMORY:
            return Message("rank {rank} on {node} ran out of memory", rank=rank, node=node)
        if self.error:
            return Message(
                "rank {rank} on {node} ended with code {code}: {error}",
                rank=rank,
                node=node,
                code=code,
                error=self.error,
            )
        return Message(
            "rank {rank} on {node} ended with code {code}", rank=rank, node=node, code=code
        )


@dataclass(frozen=True)
class SupervisorRecord:
    """`supervisor.json`: the process that starts the ranks, and starts them again."""

    state: str = "starting"
    """starting, running, restarting; then finished, stopped or failed."""
    attempt: int = 0
    restarts: int = 0
    """The most attempts after the first."""
    ranks: int = 1
    nodes: int = 1
    pid: int = 0
    pid_started: float = 0.0
    host: str = ""
    heartbeat: float = 0.0
    out_of_memory: int = 0
    """Attempts that ended because a rank ran out of memory: each halves the micro-batches."""
    ends: list[dict[str, Any]] = field(default_factory=list)
    """Records of `RankEnd`, the newest last."""

    @property
    def rank_ends(self) -> list[RankEnd]:
        found = (record_from(end, RankEnd) for end in self.ends[-_KEPT_ENDS:])
        return [end for end in found if end is not None]

    @property
    def active(self) -> bool:
        """Whether it says that it is at work, and lives."""
        if self.state not in ("starting", "running", "restarting"):
            return False
        if self.host != socket.gethostname():
            return abs(time.time() - self.heartbeat) < _SILENT_S
        return process_lives(self.pid, self.pid_started)

    @property
    def restarting(self) -> str:
        """`1/3` while it starts the ranks anew, else empty."""
        if self.state != "restarting" or not self.active:
            return ""
        return f"{self.attempt}/{self.restarts}"


def read_supervisor(path: Path) -> SupervisorRecord | None:
    """None for a run that has none, or a damaged file."""
    return read_record(path, SupervisorRecord)


def write_supervisor(path: Path, record: SupervisorRecord) -> None:
    replace_text(path, json.dumps(with_parts(asdict(record)), indent=1) + "\n", path.parent)


def read_ranks(path: Path) -> RankTable | None:
    """None for a run of one process, or a damaged file; a damaged row is left out."""
    try:
        found = json.loads(read_bytes(path, path.parent, _LIMIT))
    except (OSError, ValueError, RecursionError):
        return None
    rows = found.pop("ranks", []) if isinstance(found, dict) else []
    table = record_from(found, RankTable)
    if table is None or not isinstance(rows, list):
        return None
    beats = [beat for row in rows if (beat := record_from(row, RankBeat)) is not None]
    return RankTable(table.at, table.attempt, table.size, table.hang, tuple(beats))


def write_ranks(path: Path, table: RankTable) -> None:
    text = json.dumps(with_parts(asdict(table)), ensure_ascii=False)
    replace_text(path, text + "\n", path.parent)


def last_ends(record: SupervisorRecord) -> Sequence[RankEnd]:
    """Those of the last attempt that ended; first the ones that others may have followed.

    A rank whose neighbour is gone ends by an error of its collective, with code 1.
    """
    ends = record.rank_ends
    last = [end for end in ends if end.attempt == ends[-1].attempt]
    return sorted(last, key=lambda end: end.code == 1)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write_ranks(Path(folder) / "ranks.json", RankTable(1.0, 0, 2, "", (RankBeat(1, step=3),)))
        table = read_ranks(Path(folder) / "ranks.json")
        assert table is not None and table.missing == [0]
        print(table)
    print(RankEnd(1, "node2", code=-9).sentence)
    print("=== 自测通过 ===")
