"""Which source each sequence of a mixture is from: a pure function of the sequence's number.

Draw j of a source with share w is due at (j + 1/2) / w, and the sequences are the draws of all
sources in the order of these times. So after n sequences each source has had n w of them, to
within two, at any point of the run; and the sources of any batch are found without those before it.
A source that may be read only so often runs dry; from there on the others share what it had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _MixturePhase:
    """A part of the run with the same sources."""

    first: int
    """Number of its first sequence."""
    drawn: Ints
    """Draws of each source before it."""
    shares: Floats
    """Of each source; they sum to 1, of those that have run dry they are 0."""


class Mixture:
    """Sources with weights, each with as many draws as it allows (None: any number)."""

    def __init__(self, weights: Sequence[float], most: Sequence[int | None]) -> None:
        """At least one weight is above 0."""
        self._most = most
        self.dry_after: list[int | None] = [None] * len(weights)
        """After how many sequences a source runs dry; None if it never does."""
        self.total: int | None = None
        """How many sequences there are; None if there is no end."""
        given = np.array(weights, np.float64)
        shares, first, drawn = given / given.sum(), 0, np.zeros(len(weights), np.int64)
        self._phases: list[_MixturePhase] = []
        while True:
            phase = _MixturePhase(first, drawn, shares)
            self._phases.append(phase)
            if (end := self._next_dry(phase)) is None:
                return
            source, length = end
            drawn = drawn + np.bincount(_draws(shares, 0, length)[0], minlength=len(weights))
            first += length
            self.dry_after[source] = first
            left = np.where(np.arange(len(weights)) == source, 0.0, shares)
            if not left.sum():
                self.total = first
                return
            shares = left / left.sum()

    def take(self, start: int, count: int) -> tuple[Ints, Ints]:
        """The source of each of `count` sequences from `start` on, and which draw of it that is."""
        sources, draws = [], []
        while count:
            later = [phase.first for phase in self._phases if phase.first > start]
            phase = self._phases[len(self._phases) - len(later) - 1]
            here = min(count, later[0] - start) if later else count
            source, draw = _draws(phase.shares, start - phase.first, here)
            sources.append(source)
            draws.append(draw + phase.drawn[source])
            start, count = start + here, count - here
        return np.concatenate(sources), np.concatenate(draws)

    def _next_dry(self, phase: _MixturePhase) -> tuple[int, int] | None:
        """The source that runs dry first in a phase, and after how many of its sequences."""
        found: list[tuple[float, int, int]] = []
        for source, most in enumerate(self._most):
            if most is not None and phase.shares[source]:
                left = most - int(phase.drawn[source])
                found.append(((left - 0.5) / phase.shares[source], source, left))
        if not found:
            return None
        _, source, left = min(found)
        low, high = left - 1, int(left / phase.shares[source]) + len(self._most) + 2
        while high - low > 1:  # The sequence with its last draw.
            middle = (low + high) // 2
            drawn = int(_counts(phase.shares, middle)[source])
            low, high = (middle, high) if drawn < left else (low, middle)
        return source, high


def _draws(shares: Floats, start: int, count: int) -> tuple[Ints, Ints]:
    """Source and draw of `count` sequences from `start` on, with these shares from 0 on."""
    if not count:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    room = len(shares) + 1
    before = _due(shares, max(start - room, 0.0))
    upto = _due(shares, float(start + count + room))
    sources = np.repeat(np.arange(len(shares)), upto - before)
    draws = np.concatenate([np.arange(a, b) for a, b in zip(before, upto, strict=True)])
    order = np.lexsort((sources, (draws + 0.5) / shares[sources]))
    here = order[start - int(before.sum()) :][:count]
    return sources[here], draws[here]


def _due(shares: Floats, time: float) -> Ints:
    """How many draws of each source are due before a time."""
    with np.errstate(divide="ignore"):
        near = np.ceil(shares * time - 0.5).clip(0).astype(np.int64)
        # Rounded like the times that are compared in `_draws`.
        near -= ((near - 0.5) / shares >= time) & (near > 0)
        near += ((near + 0.5) / shares < time) & (shares > 0)
    return near


def _counts(shares: Floats, upto: int) -> Ints:
    """Draws of each source among the first `upto` sequences."""
    room = len(shares) + 1
    start = max(upto - 2 * room, 0)
    before = _due(shares, max(start - room, 0.0))
    base = int(before.sum())
    sources, _ = _draws(shares, base, upto - base)
    counted: Ints = before + np.bincount(sources, minlength=len(shares))
    return counted


if __name__ == "__main__":
    demo = Mixture([3, 1], [None, 2])
    chosen, which = demo.take(0, 16)
    print(chosen, which, demo.dry_after)
    assert (chosen == 1).sum() == 2 and demo.total is None
    assert (demo.take(5, 7)[0] == chosen[5:12]).all()
    print("=== 自测通过 ===")
