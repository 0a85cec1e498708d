"""Several runs as one store, for charts that draw them over each other.

A series is named by its run and its metric. All calls are answered from the runs' own stores;
nothing is copied.
"""

from __future__ import annotations

from collections.abc import Mapping

from lmm_tui.metrics.series.row_index import Axis
from lmm_tui.metrics.series.series import Series, SeriesStore

_BETWEEN = "\0"


class Overlay:
    """A `Store` over the stores of several runs, given by a key for each run."""

    def __init__(self, stores: Mapping[str, SeriesStore]) -> None:
        self._stores = dict(stores)

    def __len__(self) -> int:
        """The number of rows of all runs."""
        return sum(map(len, self._stores.values()))

    @property
    def generation(self) -> int:
        """Grows when history of any run was dropped."""
        return sum(store.generation for store in self._stores.values())

    @property
    def last_step(self) -> int | None:
        """The last step of the run that has the highest; None where none has rows."""
        return max((store.last_step or 0 for store in self._measured()), default=None)

    def names(self) -> list[str]:
        """The metrics that any run has, without its key, in the order in which they appeared."""
        names = (name for store in self._stores.values() for name in store.names())
        return list(dict.fromkeys(names))

    @staticmethod
    def name(key: str, metric: str) -> str:
        """The name here of `metric` of the run with that key."""
        return key + _BETWEEN + metric

    def get(self, name: str) -> Series | None:
        key, _, metric = name.partition(_BETWEEN)
        return self._stores[key].get(metric)

    def span(self, axis: Axis) -> tuple[float, float]:
        """From the first to the last row of any run; only when one has rows."""
        spans = [store.span(axis) for store in self._measured()]
        return min(first for first, _ in spans), max(last for _, last in spans)

    def translate(self, x: float, source: Axis, target: Axis) -> float:
        """Where on another axis the rows before x end, in the run with the highest step."""
        longest = max(self._measured(), key=lambda store: store.last_step or 0)
        return longest.translate(x, source, target)

    def _measured(self) -> list[SeriesStore]:
        return [store for store in self._stores.values() if len(store)]


if __name__ == "__main__":
    runs = {"a": SeriesStore(), "b": SeriesStore()}
    for step in range(1, 31):
        runs["a"].append({"step": step, "tokens": 8 * step, "loss": 1 / step})
        runs["b"].append({"step": 10 * step, "tokens": 16 * step, "lr": 0.1})
    print(Overlay(runs).names(), Overlay(runs).translate(300, "step", "tokens"))
    print("=== 自测通过 ===")
