"""Who holds up whom: names the rank that a standing group waits for, from what the ranks said last.

A step stands still if no rank has changed its phase for some seconds: a slow rank still changes
phases, a hung one does not, and all others soon stand in a collective that needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lmm_tui.engine.run.rank_records import RankBeat
from lmm_tui.message import Message

WAITS = frozenset({"all-reduce", "broadcast", "barrier"})
"""Phases in which a rank does nothing but wait for the others."""
PAUSED = "paused"
STEP = frozenset({"data", "forward", "backward", "optimizer"}) | WAITS
"""Phases of an ordinary step; others, such as a checkpoint, may take a minute."""

HANG_S = 3.0
_FIRST_STEP_S = 30.0
"""The first step compiles kernels and connects the ranks."""
_SLOW_PHASE_S = 60.0
_STEPS = 3.0
SILENT_S = 3.0


@dataclass(frozen=True)
class Hang:
    """`ranks` hold up the others; none of them where all stand in the same collective."""

    ranks: tuple[int, ...]
    seconds: float
    sentence: Message


def find_hang(beats: Sequence[RankBeat]) -> Hang | None:
    """None while the steps of at least two ranks go on, or while the run is paused."""
    if len(beats) < 2 or any(beat.phase in (PAUSED, "") for beat in beats):
        return None
    culprits = _culprits(beats)
    standing = min(beat.phase_s for beat in beats)
    if standing < _patience(culprits or beats, beats):
        return None
    if not culprits:
        phases = {beat.phase for beat in beats}
        phase = Message(beats[0].phase) if len(phases) == 1 else Message("several phases")
        sentence = Message(
            "all {count} ranks have been in {phase} for {seconds:.0f} s",
            count=len(beats),
            phase=phase,
            seconds=standing,
        )
        return Hang((), standing, sentence)
    held = [beat for beat in beats if beat not in culprits]
    seconds = min(beat.phase_s for beat in culprits)
    return Hang(tuple(beat.rank for beat in culprits), seconds, _sentence(culprits, held, seconds))


def _culprits(beats: Sequence[RankBeat]) -> list[RankBeat]:
    """Those whose process stands, else those that do not wait, else those that are behind."""
    silent = [beat for beat in beats if beat.silent_s > SILENT_S]
    if 0 < len(silent) < len(beats):
        return silent
    working = [beat for beat in beats if beat.phase not in WAITS]
    if 0 < len(working) < len(beats):
        return working
    # All in a collective within a layer, as under FSDP, or all in the step's one all-reduce.
    least = min((beat.step, beat.changes) for beat in beats)
    behind = [beat for beat in beats if (beat.step, beat.changes) == least]
    return behind if len(behind) * 2 <= len(beats) else []


def _patience(culprits: Sequence[RankBeat], beats: Sequence[RankBeat]) -> float:
    """Seconds of standing still that are a hang."""
    if any(beat.phase not in STEP for beat in culprits):
        return _SLOW_PHASE_S
    steps = [beat.step_s for beat in beats if beat.step_s is not None]
    return max(HANG_S, _STEPS * max(steps)) if steps else _FIRST_STEP_S


def _sentence(culprits: list[RankBeat], held: list[RankBeat], seconds: float) -> Message:
    first, several = culprits[0], len(culprits) > 1
    phase = Message(first.phase)
    if several:
        ranks = ", ".join(str(beat.rank) for beat in culprits[:8])
        cause = Message(
            "ranks {ranks} have been in {phase} for {seconds:.0f} s",
            ranks=ranks + (", …" if len(culprits) > 8 else ""),
            phase=phase,
            seconds=seconds,
        )
    elif first.silent_s > SILENT_S:
        cause = Message(
            "rank {rank} on {node} has not answered for {silent:.0f} s, last seen in {phase}",
            rank=first.rank,
            node=first.node,
            silent=first.silent_s,
            phase=phase,
        )
    else:
        cause = Message(
            "rank {rank} on {node} has been in {phase} for {seconds:.0f} s",
            rank=first.rank,
            node=first.node,
            phase=phase,
            seconds=seconds,
        )
    return Message("{cause}; {waiting}", cause=cause, waiting=_waiting(held, several))


def _waiting(held: list[RankBeat], for_several: bool) -> Message:
    """Such as `7 ranks wait for it in all-reduce`."""
    phases = {beat.phase for beat in held if beat.phase in WAITS} or {beat.phase for beat in held}
    phase = Message(min(phases))
    if len(held) == 1:
        if for_several:
            return Message("1 rank waits for them in {phase}", phase=phase)
        return Message("1 rank waits for it in {phase}", phase=phase)
    if for_several:
        return Message("{count} ranks wait for them in {phase}", count=len(held), phase=phase)
    return Message("{count} ranks wait for it in {phase}", count=len(held), phase=phase)


if __name__ == "__main__":
    group = [RankBeat(rank, "node1", phase="all-reduce", phase_s=41, step_s=0.5) for rank in (0, 1)]
    hang = find_hang([*group, RankBeat(2, "node2", phase="data", phase_s=41, step_s=0.5)])
    assert hang is not None and hang.ranks == (2,)
    print(hang.sentence)
    print("=== 自测通过 ===")
