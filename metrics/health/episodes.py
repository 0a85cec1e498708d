"""Findings of a rule as episodes: one begins with a finding after calm rows, and ends with them."""

from __future__ import annotations

import numpy as np

from lmm_tui.metrics.health.condition import FoundRows, HealthFinding, Judged


class Episodes:
    """The episodes of one rule: one at a time of each layer."""

    def __init__(self, calm: int) -> None:
        """`calm`: judged rows without a finding that end an episode."""
        self._calm = calm
        self._rows = 0
        self.open: dict[str, int] = {}
        """Of each open episode: the row of its last finding."""

    def take(self, judged: Judged) -> list[tuple[int, str, HealthFinding]]:
        """Go through the next rows; step, layer and finding with which an episode begins."""
        begun = [start for found in judged.found for start in self._starts(found)]
        self._rows += judged.rows
        over = [where for where, last in self.open.items() if self._rows - last > self._calm]
        for where in over:
            del self.open[where]
        return begun

    def _starts(self, found: FoundRows) -> list[tuple[int, str, HealthFinding]]:
        rows = self._rows + found.positions
        before = np.append(self.open.get(found.where, -1 - self._calm), rows[:-1])
        self.open[found.where] = int(rows[-1])
        starts = np.flatnonzero(rows - before > self._calm).tolist()
        return [(int(found.steps[at]), found.where, found.finding(at)) for at in starts]


if __name__ == "__main__":
    episodes, at = Episodes(calm=3), np.array([0, 1, 4, 9])
    found = FoundRows(at, at, lambda row: HealthFinding(f"at {at[row]}", {}))
    begun = episodes.take(Judged(10, [found]))
    print(begun, episodes.open)
    assert [step for step, *_ in begun] == [0, 9] and episodes.open
    print("=== 自测通过 ===")
