"""The time that a run of `train.minutes` has spent, and how many steps it will have at that pace.

Counted is the time of steps, with the validation, samples and checkpoints between them; the first
step of a process (allocation, compilation), the time before it and pauses are not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

UNKNOWN = 100_000_000
"""Steps of a run before the pace is known."""


class TimeBudget:
    """The clock of one run, over all its sessions."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.spent_s = 0.0
        self._clock = clock
        self._warm = False
        self._excluded_s = 0.0
        self._step_s = 0.0
        """A running mean."""

    @contextmanager
    def counting(self) -> Iterator[None]:
        """A step and what follows it."""
        start, self._excluded_s = self._clock(), 0.0
        try:
            yield
        finally:
            taken = self._clock() - start - self._excluded_s
            if self._warm:
                self.spent_s += taken
                self._step_s = taken if not self._step_s else 0.9 * self._step_s + 0.1 * taken
            self._warm = True

    @contextmanager
    def excluded(self) -> Iterator[None]:
        """A pause between two steps."""
        start = self._clock()
        yield
        self._excluded_s += self._clock() - start

    def total_steps(self, done: int, minutes: float) -> int:
        """Of the whole run: so many that the share of steps after the next is that of the time."""
        budget_s = 60 * minutes
        # A resumed run has the pace of its sessions before.
        step_s = self._step_s or (self.spent_s / done if done else 0.0)
        if not step_s:
            return UNKNOWN
        after_next = self.spent_s + step_s
        if after_next >= budget_s:
            return done + 1
        return max(round((done + 1) * budget_s / after_next), done + 1)


if __name__ == "__main__":
    ticks = iter(range(1000))
    budget = TimeBudget(lambda: float(next(ticks)))
    for _ in range(1, 31):
        with budget.counting():
            pass
    print(budget.spent_s, budget.total_steps(30, 1.0))
    assert budget.total_steps(30, 0.5) == 31
    print("=== 自测通过 ===")
