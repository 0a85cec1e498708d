"""Where the rows of a run lie on the axes of a chart: step, tokens, time and epoch.

Four columns of the same length, each of them sorted, so that a position on any axis is found by
binary search. All series of a store share one index.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lmm_tui.metrics.series.growing_array import Floats, GrowingArray, Ints
from lmm_tui.metrics.series.row_values import MAX_STEP

Axis = Literal["step", "tokens", "time", "epoch"]


class RowIndex:
    """The columns; `step` strictly increases, the others never decrease."""

    def __init__(self) -> None:
        self.step = GrowingArray(np.int64)
        self.time = GrowingArray(np.float64)
        self.tokens = GrowingArray(np.float64)
        self.epoch = GrowingArray(np.float64)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.step)

    def column(self, axis: Axis) -> NDArray[np.int64 | np.float64]:
        """The position of every row on an axis; valid until the next change."""
        column: GrowingArray = getattr(self, axis)
        return column.view

    def extend(self, steps: Ints, times: Floats, tokens: Floats, epochs: Floats) -> None:
        """Add rows: `steps` beyond the last one; what is not finite in the rest is unknown."""
        # A clock may be set back and a row may lack its time, but binary search needs sorted
        # columns: an unknown or smaller position repeats the largest one so far.
        for column, given in ((self.time, times), (self.tokens, tokens), (self.epoch, epochs)):
            floor = column.view[-1] if len(column) else 0.0
            known = np.where(np.isfinite(given), given, floor)
            column.extend(np.maximum(np.maximum.accumulate(known), floor))
        self.step.extend(steps)

    def truncate(self, size: int) -> None:
        """Keep the first `size` rows."""
        for column in (self.step, self.time, self.tokens, self.epoch):
            column.truncate(size)

    def rows_before(self, positions: Floats, axis: Axis) -> Ints:
        """How many rows lie before each of `positions` (ascending) on an axis."""
        if axis != "step":
            return self.column(axis).searchsorted(positions)
        # Comparing in int64 keeps numpy from converting the whole column to float. A row lies
        # before x exactly when its step lies before ceil(x).
        inside = np.minimum(np.maximum(np.ceil(positions), -MAX_STEP), MAX_STEP + 1)
        return self.step.view.searchsorted(inside.astype(np.int64))


if __name__ == "__main__":
    index, nan = RowIndex(), np.full(3, np.nan)
    index.extend(np.array([1, 2, 5]), np.array([10.0, 9.0, np.nan]), nan, nan)
    print(index.column("step"), index.column("time"))
    assert index.rows_before(np.array([1.5, 5.0]), "step").tolist() == [1, 2]
    print("=== 自测通过 ===")
