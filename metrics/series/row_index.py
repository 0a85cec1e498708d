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

Axis = Literal["step", "tokens", "time", "epoch", "flops"]
"""One run has no axis of FLOPs: see `run_overlay`."""
AXES: tuple[Axis, ...] = ("step", "time", "tokens", "epoch")

_BITS = {"time": 1, "tokens": 2, "epoch": 4}


class RowIndex:
    """The columns; `step` strictly increases, the others never decrease.

    One of an axis on which no row has a position is empty: `column` gives zeros for it.
    """

    def __init__(self) -> None:
        self.step = GrowingArray(np.int64)
        self.time = GrowingArray(np.float64)
        self.tokens = GrowingArray(np.float64)
        self.epoch = GrowingArray(np.float64)
        self._known = GrowingArray(np.uint8)
        """Of each row, a bit for each axis on which its position was given."""
        self._since: dict[str, int] = {}
        """By axis, the first row that has a position on it."""

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.step)

    def column(self, axis: Axis) -> NDArray[np.int64 | np.float64]:
        """The position of every row on an axis; valid until the next change."""
        column: GrowingArray = getattr(self, axis)
        if axis != "step" and axis not in self._since:
            return np.zeros(len(self))
        return column.view

    def positions(self, axis: Axis) -> Floats:
        """The same of an axis other than the steps."""
        return self.column(axis).astype(np.float64, copy=False)

    def known(self, axis: Axis) -> NDArray[np.bool]:
        """Which rows have a position of their own on an axis."""
        if axis == "step":
            return np.ones(len(self), bool)
        return (self._known.view & _BITS[axis]).astype(bool)

    def extend(self, steps: Ints, times: Floats, tokens: Floats, epochs: Floats) -> None:
        """Add rows: `steps` beyond the last one; what is not finite in the rest is unknown."""
        # A clock may be set back and a row may lack its time, but binary search needs sorted
        # columns: an unknown or smaller position repeats the largest one so far, and those before
        # the first one that is known lie where that is.
        bits = np.zeros(len(steps), np.uint8)
        for name, given in (("time", times), ("tokens", tokens), ("epoch", epochs)):
            column: GrowingArray = getattr(self, name)
            finite = np.isfinite(given)
            if name not in self._since:
                if not finite.any():
                    continue  # Nothing is kept of an axis on which no row is known.
                first = int(finite.argmax())
                self._since[name] = len(self) + first
                column.extend(np.full(len(self), given[first]))
            floor = column.view[-1] if len(column) else given[finite.argmax()]
            column.extend(np.maximum.accumulate(np.maximum(np.where(finite, given, floor), floor)))
            bits |= finite * np.uint8(_BITS[name])
        self._known.extend(bits)
        self.step.extend(steps)

    def truncate(self, size: int) -> None:
        """Keep the first `size` rows."""
        for column in (self.step, self.time, self.tokens, self.epoch, self._known):
            column.truncate(size)
        self._since = {axis: row for axis, row in self._since.items() if row < size}
        for name in _BITS.keys() - self._since.keys():
            getattr(self, name).truncate(0)

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
    print(index.column("step"), index.column("time"), index.known("time"))
    assert index.known("time").tolist() == [True, True, False]
    assert index.rows_before(np.array([1.5, 5.0]), "step").tolist() == [1, 2]
    print("=== 自测通过 ===")
