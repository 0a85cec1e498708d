"""Agenda: what happens between two optimiser steps is decided here, before any of it is done.

Each part of the loop says what is due (`decide`), and does what was decided (`act`). What follows
from step and settings every rank decides for itself; what follows from clocks, mailboxes and logged
rows only rank 0 knows (`is_for_leader`). It announces with its next step that there is something,
and all ranks take it over after that step, or in a pause: all act alike, at the same step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from lmm_tui.engine.parallel.ranks import ALONE, Ranks
from lmm_tui.engine.training.step_sums import Signals


class LoopPart(Protocol):
    """A part of the loop that has something to do between steps, now and then."""

    is_for_leader: bool
    """Whether only rank 0 can decide it; of the class."""

    def decide(self) -> Any:
        """What is due now, None for nothing; it counts as taken note of."""

    def act(self, due: Any) -> None:
        """Do what was decided."""


class Agenda:
    """The parts of one loop, in the order in which they act."""

    def __init__(self, parts: Sequence[LoopPart], ranks: Ranks = ALONE) -> None:
        self._parts = parts
        self._ranks = ranks
        self._held: dict[int, Any] = {}
        """On rank 0: what it has decided and not said yet, by the number of the part."""

    def work_off(self, signals: Signals, asked: bool, paused: Callable[[], bool]) -> None:
        """Decide and act until nothing is due: acting may make more due, as an alert does.

        Several ranks decide together where rank 0 `asked` for it, or the run is `paused`; else
        what rank 0 decides is held, and `signals` announce it with the next step.
        """
        together = asked or paused()
        while decided := self._decide(together):
            for number, due in sorted(decided.items()):
                self._parts[number].act(due)
            together |= paused()
        signals.asks = bool(self._held)

    def _decide(self, together: bool) -> dict[int, Any]:
        alone, leads = self._ranks.is_alone, self._ranks.leads
        numbered = [*enumerate(self._parts)]
        own = self._found(
            (number, part) for number, part in numbered if alone or not part.is_for_leader
        )
        if alone:
            return own
        if leads:
            rest = ((number, part) for number, part in numbered if part.is_for_leader)
            self._held |= self._found(it for it in rest if it[0] not in self._held)
        if not together:
            return own
        said, self._held = self._ranks.tell(self._held), {}
        return own | said

    def _found(self, parts: Iterable[tuple[int, LoopPart]]) -> dict[int, Any]:
        found = {number: part.decide() for number, part in parts}
        return {number: due for number, due in found.items() if due is not None}


if __name__ == "__main__":

    class Countdown:
        left = 3
        is_for_leader = True

        def decide(self) -> int | None:
            return self.left or None

        def act(self, due: int) -> None:
            self.left -= 1
            print("due", due)

    countdown = Countdown()
    Agenda([countdown]).work_off(Signals(), False, lambda: False)
    assert countdown.left == 0
    print("=== 自测通过 ===")
