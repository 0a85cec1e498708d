"""The curves of several runs on one axis, as arrays of bounded length, for a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lmm_tui.engine.run.reader import Reader
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.metric_titles import title_of
from lmm_tui.metrics.names import TRAIN_LOSS, VAL_LOSS
from lmm_tui.metrics.plots.comparison_page import PlottedCurves
from lmm_tui.metrics.series.row_index import Axis
from lmm_tui.metrics.series.run_overlay import Overlay

_BINS = 600
_ALIKE = 1.05


def overlaid_curves(runs: Mapping[str, Path]) -> list[PlottedCurves]:
    """Training and validation loss by run; on tokens where a step is not as many everywhere."""
    stores = {}
    for name, path in runs.items():
        session = Reader(path)
        session.poll()
        stores[name] = session.series
    overlay = Overlay(stores)
    if not len(overlay):
        return []
    tokens = overlay.tokens_a_step()
    counted = len(tokens) == len(stores)
    alike = not counted or max(tokens.values()) < _ALIKE * min(tokens.values())
    axis: Axis = "step" if alike else "tokens"
    return [
        PlottedCurves(title_of(metric), tr(axis), found)
        for metric in (TRAIN_LOSS, VAL_LOSS)
        if (found := _curves(overlay, runs, metric, axis))
    ]


def _curves(
    overlay: Overlay, runs: Mapping[str, Path], metric: str, axis: Axis
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    found = {}
    for name in runs:
        series = overlay.get(Overlay.name(name, metric))
        if series is None or not len(series):
            continue
        first, last = series.span(axis)
        width = (last - first) / _BINS or 1.0
        means = series.bins(first, first + width * _BINS, _BINS, axis).mean
        shown = np.isfinite(means)
        found[name] = (first + (np.arange(_BINS) + 0.5) * width)[shown], means[shown]
    return found


if __name__ == "__main__":
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".log", buffering=1) as log:
        log.write("step: 1, loss: 3\nstep: 2, loss: 2.5\n")
        print(overlaid_curves({"a": Path(log.name)}))
    print("=== 自测通过 ===")
