"""Heat map of layers over steps: one row a layer, colour on a log scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_rgb
from numpy.typing import NDArray

from lmm_tui.metrics.drawing.palette import ramp
from lmm_tui.metrics.plots import plot_style
from lmm_tui.metrics.plots.panel_axes import value_axis
from lmm_tui.metrics.plots.plotted_curve import COLUMNS, StepWindow
from lmm_tui.metrics.series.growing_array import Floats
from lmm_tui.metrics.series.series import Series

_COLOURS = LinearSegmentedColormap.from_list("layers", ramp(dark=False))
_ZERO = plot_style.EDGE
_LABELLED_ROWS = 18


def draw_map(
    ax: Axes, bar: Axes, rows: Sequence[Series], labels: Sequence[str], window: StepWindow
) -> bool:
    """Draw a row for each layer, the first on top, and the colour scale in `bar`.

    Exact zeros are grey, non-finite values red. Returns whether there are zeros.
    """
    edges, values, broken = _table(rows, window)
    positive = values[values > 0]
    # Two outliers in a hundred cells must not stretch the scale.
    low, high = np.quantile(positive, (0.02, 0.98)) if len(positive) else (1.0, 1.0)
    scale = LogNorm(low, max(high, 1.5 * low), clip=True)
    zero = values == 0
    cells = _COLOURS(scale(np.where(values > 0, values, low)))[..., :3]
    cells[np.isnan(values)] = 1.0
    cells[zero] = to_rgb(_ZERO)
    cells[broken] = to_rgb(plot_style.BROKEN)
    ax.pcolormesh(edges, np.arange(len(rows) + 1) - 0.5, cells, rasterized=True)
    ax.invert_yaxis()
    ax.grid(visible=False)
    colours = bar.figure.colorbar(ScalarMappable(scale, _COLOURS), cax=bar)
    colours.outline.set_visible(False)
    bar.grid(visible=False)
    value_axis(bar)
    every = -(-len(rows) // _LABELLED_ROWS)
    ax.set_yticks(range(0, len(rows), every), labels[::every])
    return bool(zero.any())


def _table(rows: Sequence[Series], window: StepWindow) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Column edges, (columns + 1,); means and whether a value was not finite, (rows, columns).

    A cell without a value repeats the one before it; NaN if there is none.
    """
    if max(map(len, rows)) <= COLUMNS:
        steps = np.unique(np.concatenate([series.steps for series in rows])).astype(float)
        # A column for each step at which any row was measured, edges half-way between them.
        edges = np.concatenate(([window.first], (steps[1:] + steps[:-1]) / 2, [window.last]))
        values = np.full((len(rows), len(steps)), np.nan)
        broken = np.zeros(values.shape, bool)
        for row, series in enumerate(rows):
            at, finite = steps.searchsorted(series.steps), np.isfinite(series.values)
            values[row, at] = np.where(finite, series.values, np.nan)
            broken[row, at] = ~finite
    else:
        edges = np.linspace(window.first, window.last, COLUMNS + 1)
        bins = [series.bins(window.first, window.last, COLUMNS) for series in rows]
        values = np.array([one.mean for one in bins])
        broken = np.array([one.nonfinite > 0 for one in bins])
    for column in range(1, values.shape[1]):
        unknown = np.isnan(values[:, column]) & ~broken[:, column]
        values[unknown, column] = values[unknown, column - 1]
    return edges, values, broken


if __name__ == "__main__":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from lmm_tui.metrics.series.series import SeriesStore

    store = SeriesStore()
    store.append({"step": 1, "grad/layers.0": 0.0})
    shown = [series for name in store.names() if (series := store.get(name))]
    axes, colour_bar = FigureCanvasAgg(Figure()).figure.subplots(1, 2)
    print("zeros:", draw_map(axes, colour_bar, shown, ["layers.0"], StepWindow.of(store)))
    print("=== 自测通过 ===")
