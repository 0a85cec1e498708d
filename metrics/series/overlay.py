"""Several runs as one store, to be drawn over each other: a metric of a run is called by both.

It reads what the stores hold at that moment and holds nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from lmm_tui.metrics.series.series import Axis, Series, SeriesStore

_BETWEEN = "\0"


class Overlay:
    """Stores by the key of their run; what pictures ask of a store, it answers for all."""

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
        """Of the run that is farthest."""
        return max((store.last_step or 0 for store in self._measured()), default=None)

    def names(self) -> list[str]:
        """The metrics that any run has, without its key, in the order in which they appeared."""
        names = (name for store in self._stores.values() for name in store.names())
        return list(dict.fromkeys(names))

    @staticmethod
    def name(key: str, metric: str) -> str:
        """What `metric` of one run is called here."""
        return key + _BETWEEN + metric

    def get(self, name: str) -> Series | None:
        key, _, metric = name.partition(_BETWEEN)
        return self._stores[key].get(metric)

    def span(self, axis: Axis) -> tuple[float, float]:
        """From the first to the last row of any run; only where one has rows."""
        spans = [store.span(axis) for store in self._measured()]
        return min(first for first, _ in spans), max(last for _, last in spans)

    def translate(self, x: float, source: Axis, target: Axis) -> float:
        """Where on another axis the rows before x end, in the run with the most steps."""
        longest = max(self._measured(), key=lambda store: store.last_step or 0)
        return longest.translate(x, source, target)

    def _measured(self) -> list[SeriesStore]:
        return [store for store in self._stores.values() if len(store)]


if __name__ == "__main__":
    runs = {"a": SeriesStore(), "b": SeriesStore(), "empty": SeriesStore()}
    for step in range(1, 31):
        runs["a"].append({"step": step, "tokens": 8 * step, "loss": 1 / step})
        runs["b"].append({"step": 10 * step, "tokens": 16 * step, "lr": 0.1})
    both = Overlay(runs)
    print(both.names(), both.span("step"), both.translate(300, "step", "tokens"))
    loss = both.get(both.name("a", "loss"))
    assert loss is not None and len(loss) == 30 and both.get(both.name("b", "loss")) is None
    assert both.span("tokens") == (8, 480) and both.last_step == 300
    print("=== 自测通过 ===")
