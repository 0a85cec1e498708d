"""The ticks of `metrics.drawing` on matplotlib's axes."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, Locator, NullLocator

Ticks = list[tuple[float, str]]


class _Places(Locator):
    """Where an axis has ticks; `labels` are those of the ticks it gave last."""

    def __init__(self, ticks: Callable[[float, float], Ticks]) -> None:
        self._ticks = ticks
        self.labels: dict[float, str] = {}

    def __call__(self) -> list[float]:
        assert self.axis is not None
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        self.labels = dict(self._ticks(min(vmin, vmax), max(vmin, vmax)))
        return [*self.labels]


def set_ticks(axis: Axis, ticks: Callable[[float, float], Ticks]) -> None:
    """Let an axis have the ticks that a function gives for its range."""
    places = _Places(ticks)
    axis.set_major_locator(places)
    axis.set_major_formatter(FuncFormatter(lambda value, _: places.labels.get(value, "")))
    axis.set_minor_locator(NullLocator())


if __name__ == "__main__":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    axes = FigureCanvasAgg(Figure()).figure.add_subplot()
    set_ticks(axes.xaxis, lambda low, high: [(low, "first"), (high, "last")])
    axes.set_xlim(2, 5)
    found = axes.xaxis.get_major_locator()()
    print(found, axes.xaxis.get_major_formatter().format_ticks([*found]))
    print("=== 自测通过 ===")
