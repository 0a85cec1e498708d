"""Plots of a run without their panels, which take longer to draw than a short run to train.

The pictures are written as ever. What is on them is held by tests/metrics/test_visualize.py.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from lmm_tui.metrics.plots import page_layout


def empty_page(*_: object) -> Figure:
    return Figure((1, 1))


def draw_empty_pages() -> None:
    page_layout.draw = empty_page
