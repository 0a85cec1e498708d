"""The ranks of a run as rows for a screen: what each does, and which are odd. Pure, but `read`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low

from lmm_tui.engine.parallel.hangs import SILENT_S, WAITS, find_hang
from lmm_tui.engine.run.rank_records import (
    OUT_OF_MEMORY,
    RankBeat,
    RankEnd,
    RankTable,
    SupervisorRecord,
    read_ranks,
    read_supervisor,
    signal_name,
)
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.number_format import duration

PHASES = (
    *(mark("setup"), mark("data"), mark("forward"), mark("backward"), mark("all-reduce")),
    *(mark("broadcast"), mark("barrier"), mark("optimizer"), mark("validation")),
    *(mark("checkpoint"), mark("sample"), mark("evaluation"), mark("paused"), mark("probe")),
    mark("between steps"),
)
"""What the loop calls the parts of a step, and what is done between two."""
SLOW = 1.25
"""Of the median step time without waiting (of two, the lower): it holds up the others."""
_LONG_S = 2.0
_NOT_BEGUN = RankBeat(-1)


@dataclass(frozen=True)
class RankRow:
    """One rank: its last beat, if it has begun, and how it ended, if it has."""

    rank: int
    beat: RankBeat | None = None
    end: RankEnd | None = None
    ended: int = 0
    """How often it has ended before its work was done, in all attempts."""
    holds_up: bool = False
    """Whether all others wait for it."""
    slowness: float | None = None
    """Its own step time in medians of all ranks."""

    @property
    def slow(self) -> bool:
        return self.slowness is not None and self.slowness > SLOW

    @property
    def odd(self) -> tuple[bool, bool, bool, bool, float]:
        """Sorts what a person should look at to the end."""
        silent = self.beat is not None and self.beat.silent_s > SILENT_S
        gone = self.end is not None or self.beat is None
        throttled = self.beat is not None and bool(self.beat.throttle)
        return self.holds_up, gone, silent, throttled, self.slowness or 0.0 if self.slow else 0.0

    @property
    def sign(self) -> str:
        """One character: x ended, - not begun, ! holds up the others, ? silent, w waiting."""
        if self.end is not None:
            return "x"
        if self.beat is None:
            return "-"
        if self.holds_up:
            return "!"
        if self.beat.silent_s > SILENT_S:
            return "?"
        return "w" if self.beat.phase in WAITS else "·"

    def state(self) -> str:
        """Such as `data 41 s`, `killed by SIGKILL`, `no answer for 8 s`."""
        if self.end is not None:
            return end_words(self.end)
        if self.beat is None:
            return tr("not begun")
        if self.beat.silent_s > SILENT_S:
            return tr("no answer for {time}", time=duration(self.beat.silent_s))
        phase = tr(self.beat.phase)
        if self.beat.phase_s < _LONG_S:
            return phase
        return tr("{phase} {time}", phase=phase, time=duration(self.beat.phase_s))


def end_words(end: RankEnd) -> str:
    """How a rank ended, without which it is."""
    if end.code < 0:
        return tr("killed by {name}", name=signal_name(-end.code))
    if end.code == OUT_OF_MEMORY:
        return tr("out of memory")
    return tr("ended with code {code}", code=end.code)


@dataclass(frozen=True)
class ListedRanks:
    """All ranks of a run at one time."""

    table: RankTable
    supervisor: SupervisorRecord | None
    rows: tuple[RankRow, ...]

    @property
    def nodes(self) -> int:
        return len({row.beat.node for row in self.rows if row.beat is not None})

    @property
    def step(self) -> int:
        return max((row.beat.step for row in self.rows if row.beat), default=0)

    @property
    def step_s(self) -> float | None:
        known = [row.beat.step_s for row in self.rows if row.beat and row.beat.step_s is not None]
        return max(known) if known else None


def read(run: RunDir) -> ListedRanks | None:
    """None for a run of one process."""
    supervisor, table = read_supervisor(run.supervisor_file), read_ranks(run.ranks_file)
    if supervisor is None and table is None:
        return None
    return group_of(table or RankTable(), supervisor)


def group_of(table: RankTable, supervisor: SupervisorRecord | None) -> ListedRanks:
    """The rows of all ranks, in their order."""
    ends = supervisor.rank_ends if supervisor else []
    attempt = supervisor.attempt if supervisor else table.attempt
    now = {} if supervisor is None else {
        end.rank: end for end in ends if end.attempt == attempt and not supervisor.restarting
    }  # fmt: skip
    beats = {beat.rank: beat for beat in table.ranks} if table.attempt == attempt else {}
    hang = find_hang([*beats.values()])
    held_by = set(hang.ranks) if hang else set()
    usual = _median([beat.own_s for beat in beats.values() if beat.own_s])
    size = max(table.size, supervisor.ranks if supervisor else 0)
    rows = []
    for rank in range(size):
        beat = beats.get(rank)
        own = beat.own_s if beat else None
        rows.append(
            RankRow(
                rank,
                beat,
                now.get(rank),
                sum(end.rank == rank for end in ends),
                rank in held_by,
                own / usual if own and usual else None,
            )
        )
    return ListedRanks(table, supervisor, tuple(rows))


def odd_first(rows: Sequence[RankRow]) -> list[RankRow]:
    """What a person should look at first; equal ones by their rank."""
    return sorted(rows, key=lambda row: (*(not it for it in row.odd[:4]), -row.odd[4], row.rank))


def short_list(ranks: Sequence[int]) -> str:
    """`0-4, 6, 7`."""
    runs: list[list[int]] = []
    for rank in sorted(ranks):
        if runs and runs[-1][-1] == rank - 1:
            runs[-1].append(rank)
        else:
            runs.append([rank])
    parts = [f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return ", ".join(parts)


def _median(values: Sequence[float]) -> float | None:
    return median_low(values) if values else None


if __name__ == "__main__":
    demo = RankTable(0.0, 0, 3, "", (RankBeat(0, own_s=0.1), RankBeat(2, own_s=0.1, silent_s=9)))
    for row in group_of(demo, None).rows:
        print(row.rank, row.sign, row.state(), row.slowness)
    assert short_list([0, 1, 2, 3, 4, 6, 7]) == "0-4, 6, 7"
    print("=== 自测通过 ===")
