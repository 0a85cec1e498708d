"""Conditions on the ranks of a run: one that is slower than the others, or has other weights."""

from __future__ import annotations

from dataclasses import dataclass

from lmm_tui.message import Message
from lmm_tui.metrics import names
from lmm_tui.metrics.health.condition import (
    NOT_JUDGED,
    Baselines,
    Condition,
    HealthFinding,
    Judged,
    judged,
    together,
)
from lmm_tui.metrics.health.rows import HealthRows

_OF_THE_SLOWEST = (names.SLOWEST_RANK, names.SLOWEST_RANK_TIMES, names.SLOWEST_RANK_MS)


@dataclass
class SlowRank(Condition):
    """A rank takes more than so many medians for a step, and so many milliseconds more, not
    counting what it waits for others; all are means over 50 steps.

    The milliseconds are for tiny steps, in which rank 0 writes the run besides.
    """

    times: float = 1.25
    least_ms: float = 20.0

    def needs(self) -> tuple[str, ...]:
        return _OF_THE_SLOWEST

    def check(self, rows: HealthRows, baselines: Baselines) -> Judged:
        del baselines
        parts = []
        for steps, columns in rows.aligned(_OF_THE_SLOWEST):
            if len(columns) == len(_OF_THE_SLOWEST):
                rank, times, more_ms = (columns[name] for name in _OF_THE_SLOWEST)
                slow = (times > self.times) & (more_ms >= self.least_ms)
                parts.append(judged(steps, slow, self._tell, times, rank))
        return together(parts) if parts else NOT_JUDGED

    def _tell(self, step: int, times: float, rank: float) -> HealthFinding:
        what = Message(
            "rank {rank:.0f} takes {times:.2f} × the median time of a step at step {step}",
            rank=rank,
            times=times,
            step=step,
        )
        return HealthFinding(what, {"rank": rank, "times": times, "bound": self.times})


@dataclass
class RanksDiffer(Condition):
    """Ranks have other weights than most, where all should have the same."""

    def needs(self) -> tuple[str, ...]:
        return (names.RANKS_DIFFERING,)

    def check(self, rows: HealthRows, baselines: Baselines) -> Judged:
        del baselines
        given = rows.finite(names.RANKS_DIFFERING)
        if given is None:
            return NOT_JUDGED
        steps, count = given
        return judged(steps, count > 0, self._tell, count)

    def _tell(self, step: int, count: float) -> HealthFinding:
        what = Message(
            "{count:.0f} of the ranks had other weights than most at step {step}",
            count=count,
            step=step,
        )
        return HealthFinding(what, {"ranks": count})


if __name__ == "__main__":
    from lmm_tui.metrics.health.rolling import Windows
    from lmm_tui.metrics.health.rows import OneRow

    row = {names.SLOWEST_RANK: 5.0, names.SLOWEST_RANK_TIMES: 1.4,
           names.SLOWEST_RANK_MS: 90.0}  # fmt: skip
    found = SlowRank().check(OneRow(60, row, Windows()), {})
    print(found.found[0].finding(0).what)
    assert not RanksDiffer().check(OneRow(60, {names.RANKS_DIFFERING: 0.0}, Windows()), {}).found
    print("=== 自测通过 ===")
