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


@dataclass
class SlowRank(Condition):
    """A rank takes more than so many medians for a step, not counting what it waits for others;
    both are means over 50 steps."""

    times: float = 1.25

    def check(self, rows: HealthRows, baselines: Baselines) -> Judged:
        del baselines
        parts = []
        for steps, columns in rows.aligned((names.SLOWEST_RANK, names.SLOWEST_RANK_TIMES)):
            if len(columns) == 2:
                times, rank = columns[names.SLOWEST_RANK_TIMES], columns[names.SLOWEST_RANK]
                parts.append(judged(steps, times > self.times, self._tell, times, rank))
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

    row = {names.SLOWEST_RANK: 5.0, names.SLOWEST_RANK_TIMES: 1.4}
    found = SlowRank().check(OneRow(60, row, Windows()), {})
    print(found.found[0].finding(0).what)
    assert not RanksDiffer().check(OneRow(60, {names.RANKS_DIFFERING: 0.0}, Windows()), {}).found
    print("=== 自测通过 ===")
