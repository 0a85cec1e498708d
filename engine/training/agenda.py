"""Agenda: what happens between two optimiser steps is decided here, before any of it is done.

Each part of the loop says what is due (`decide`), and does what was decided (`act`). Deciding
reads clocks, mailboxes and logged numbers, which only the process that writes the run has; acting
changes model and counters. Several ranks would share one decision, made by the writer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class LoopPart(Protocol):
    """A part of the loop that has something to do between steps, now and then."""

    def decide(self) -> Any:
        """What is due now, None for nothing; it counts as taken note of."""

    def act(self, due: Any) -> None:
        """Do what was decided."""


class Agenda:
    """The parts of one loop, in the order in which they act."""

    def __init__(self, parts: Sequence[LoopPart]) -> None:
        self._parts = parts

    def work_off(self) -> None:
        """Decide and act until nothing is due: acting may make more due, as an alert does."""
        while decided := self._decide():
            for part, due in decided:
                part.act(due)

    def _decide(self) -> list[tuple[LoopPart, Any]]:
        found = [(part, part.decide()) for part in self._parts]
        return [(part, due) for part, due in found if due is not None]


if __name__ == "__main__":

    class Countdown:
        left = 3

        def decide(self) -> int | None:
            return self.left or None

        def act(self, due: int) -> None:
            self.left -= 1
            print("due", due)

    countdown = Countdown()
    Agenda([countdown]).work_off()
    assert countdown.left == 0
    print("=== 自测通过 ===")
