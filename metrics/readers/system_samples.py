"""Samples of system metrics: they have a time and no step, and go to the last row before it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lmm_tui.metrics.readers.log_row import LogRow
from lmm_tui.metrics.series.growing_array import Floats, Ints

SYSTEM = "system/"


class SystemSamples:
    """Keeps samples until there is a row for them."""

    def __init__(self) -> None:
        self.left_out = 0
        """Values of which another one is at the same row."""
        self._samples: list[tuple[float, dict[str, float]]] = []

    def add(self, time: float, values: dict[str, float]) -> None:
        """Unix seconds, and values by the name in the log."""
        if values:
            self._samples.append((time, {SYSTEM + name: at for name, at in values.items()}))

    def at(self, times: Floats) -> Iterator[tuple[str, Ints, Floats]]:
        """The samples so far by name: at which of these rows, and the values."""
        if not self._samples or not len(times):
            return
        known = np.maximum.accumulate(np.where(np.isnan(times), -np.inf, times))
        at = known.searchsorted([time for time, _ in self._samples], side="right") - 1
        rows: dict[str, dict[int, float]] = {}
        for row, (_, values) in zip(np.maximum(at, 0).tolist(), self._samples, strict=True):
            for name, value in values.items():
                column = rows.setdefault(name, {})
                self.left_out += row in column
                column[row] = value
        self._samples.clear()
        for name, column in rows.items():
            ordered = sorted(column)
            yield name, np.array(ordered), np.array([column[row] for row in ordered])

    def into(self, rows: list[LogRow]) -> None:
        """Put the samples so far into rows."""
        times = np.array([np.nan if row.time is None else row.time for row in rows])
        for name, at, values in self.at(times):
            for row, value in zip(at.tolist(), values.tolist(), strict=True):
                rows[row].values.setdefault(name, value)

    def remaining(self) -> Iterator[dict[str, float]]:
        """The samples after the last row."""
        for _, values in self._samples:
            yield values
        self._samples.clear()


if __name__ == "__main__":
    samples = SystemSamples()
    for second in (5.5, 5.75, 7.0):
        samples.add(second, {"cpu": second})
    found = [(name, rows.tolist(), at.tolist()) for name, rows, at in samples.at(np.arange(4.0, 9))]
    print(found, samples.left_out)
    assert found == [("system/cpu", [1, 3], [5.75, 7.0])] and samples.left_out == 1
    print("=== 自测通过 ===")
