"""Several runs as one store, for charts that draw them over each other.

A series is named by its run and its metric. All calls are answered from the runs' own stores;
nothing is copied. On the axis of time every run begins at 0, and one of FLOPs is the tokens of each
run by what it takes to train one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from lmm_tui.metrics.series.bins import Bins
from lmm_tui.metrics.series.row_index import Axis
from lmm_tui.metrics.series.series import Point, Series, SeriesStore

_BETWEEN = "\0"


class Overlay:
    """A `Store` over the stores of several runs, given by a key for each run."""

    def __init__(
        self, stores: Mapping[str, SeriesStore], flops: Mapping[str, float] | None = None
    ) -> None:
        """`flops` are those of a token, of the runs of which they are known."""
        self._stores = dict(stores)
        self._flops = dict(flops or {})
        self._placed: dict[str, Series] = {}

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
        found = self._stores[key].get(metric)
        if found is None:
            return None
        placed = self._placed.get(name)
        if placed is None or cast(PlacedSeries, placed).series is not found:
            placed = cast(Series, PlacedSeries(found, self, key))
            self._placed[name] = placed
        return placed

    def span(self, axis: Axis) -> tuple[float, float]:
        """From the first to the last row of any run; only when one has rows."""
        spans = []
        for key in self._keys():
            own, factor, start = self.scale(key, axis)
            first, last = self._stores[key].span(own)
            spans.append(((first - start) * factor, (last - start) * factor))
        return min(first for first, _ in spans), max(last for _, last in spans)

    def translate(self, x: float, source: Axis, target: Axis) -> float:
        """Where on another axis the rows before x end, in the run with the highest step."""
        key = max(self._keys(), key=lambda key: self._stores[key].last_step or 0)
        own, factor, start = self.scale(key, source)
        there, by, origin = self.scale(key, target)
        found = self._stores[key].translate(x / factor + start if factor else 0.0, own, there)
        return (found - origin) * by

    def scale(self, key: str, axis: Axis) -> tuple[Axis, float, float]:
        """The axis of the run's own store, and `factor` and `start` of (x - start) * factor."""
        if axis == "flops":
            return "tokens", self._flops.get(key, 0.0), 0.0
        store = self._stores[key]
        return axis, 1.0, store.span("time")[0] if axis == "time" and len(store) else 0.0

    def tokens_a_step(self) -> dict[str, float]:
        """Of the runs that count their tokens."""
        found = {}
        for key in self._keys():
            store = self._stores[key]
            if (tokens := store.span("tokens")[1]) and store.last_step:
                found[key] = tokens / store.last_step
        return found

    def _keys(self) -> list[str]:
        return [key for key, store in self._stores.items() if len(store)]

    def _measured(self) -> list[SeriesStore]:
        return [store for store in self._stores.values() if len(store)]


class PlacedSeries:
    """A series of one run on the axes that all runs share; what is not of axes is the series'."""

    def __init__(self, series: Series, overlay: Overlay, key: str) -> None:
        self.series = series
        self._overlay = overlay
        self._key = key

    def __getattr__(self, name: str) -> Any:
        return getattr(self.series, name)

    def __len__(self) -> int:
        return len(self.series)

    def span(self, axis: Axis) -> tuple[float, float]:
        own, factor, start = self._overlay.scale(self._key, axis)
        first, last = self.series.span(own)
        return (first - start) * factor, (last - start) * factor

    def nearest(self, x: float, axis: Axis) -> Point | None:
        own, factor, start = self._overlay.scale(self._key, axis)
        return self.series.nearest(x / factor + start, own) if factor else None

    def bins(self, x0: float, x1: float, columns: int, axis: Axis = "step") -> Bins:
        """None has a value where the run is not on the axis."""
        own, factor, start = self._overlay.scale(self._key, axis)
        if not factor:
            return self.series.bins(-2.0, -1.0, columns, "step")
        return self.series.bins(x0 / factor + start, x1 / factor + start, columns, own)


if __name__ == "__main__":
    runs = {"a": SeriesStore(), "b": SeriesStore()}
    for step in range(1, 31):
        runs["a"].append({"step": step, "tokens": 8 * step, "loss": 1 / step})
        runs["b"].append({"step": 10 * step, "tokens": 16 * step, "lr": 0.1})
    print(Overlay(runs).names(), Overlay(runs).translate(300, "step", "tokens"))
    print("=== 自测通过 ===")
