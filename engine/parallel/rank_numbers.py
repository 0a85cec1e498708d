"""What the ranks say of themselves as metrics of a row, for charts and health rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median, median_low

from lmm_tui.engine.run.rank_records import RankBeat
from lmm_tui.metrics import names

STEPS = 50
"""Steps that a rank's mean time is of; before, the first steps would count too much."""


def rank_numbers(beats: Sequence[RankBeat]) -> dict[str, float]:
    """By name of the metric; empty for fewer than two ranks, and without what is not known.

    Times are those of a step without waiting for other ranks; the median is the lower one of two.
    """
    if len(beats) < 2:
        return {}
    found: dict[str, float] = {}
    own = {beat.rank: beat.own_s for beat in beats if beat.own_s and beat.own_steps >= STEPS}
    if len(own) == len(beats):
        slowest = max(own, key=lambda rank: own[rank] or 0.0)
        usual = median_low([seconds for seconds in own.values() if seconds])
        found[names.SLOWEST_RANK] = float(slowest)
        found[names.SLOWEST_RANK_TIMES] = (own[slowest] or 0.0) / usual
        found[names.SLOWEST_RANK_MS] = ((own[slowest] or 0.0) - usual) * 1000
    waited = [
        beat.waited_s / beat.step_s for beat in beats if beat.step_s and beat.waited_s is not None
    ]
    if waited:
        found[names.RANKS_WAITED] = min(median(waited), 1.0)
    shares = [share for beat in beats if (share := beat.memory_share) is not None]
    if len(shares) == len(beats):
        found[names.RANKS_MEMORY_SPREAD] = max(shares) - min(shares)
    if any(beat.celsius is not None for beat in beats):
        found[names.RANKS_THROTTLED] = float(sum(bool(beat.throttle) for beat in beats))
    return found | _differing(beats)


def _differing(beats: Sequence[RankBeat]) -> dict[str, float]:
    """How many ranks have another checksum than most; only where all have one of the same step."""
    steps = {beat.checksum_step for beat in beats}
    if len(steps) > 1 or not all(beat.checksum for beat in beats):
        return {}
    (_, most), *_ = Counter(beat.checksum for beat in beats).most_common(1)
    return {names.RANKS_DIFFERING: float(len(beats) - most)}


if __name__ == "__main__":
    demo = [
        RankBeat(rank, own_s=0.1 + rank / 20, own_steps=50, checksum="ab" if rank else "cd")
        for rank in range(3)
    ]
    print(rank_numbers(demo))
    assert rank_numbers(demo)[names.RANKS_DIFFERING] == 1
    print("=== 自测通过 ===")
