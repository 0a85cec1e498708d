"""Page layout: which panels a page has, in rows of given heights, below a title and a summary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec

from lmm_tui.metrics import names
from lmm_tui.metrics.plots import panels, plot_style
from lmm_tui.metrics.plots.panel_axes import draw_reason
from lmm_tui.metrics.plots.plot_source import PlotSource
from lmm_tui.metrics.plots.plotted_curve import StepWindow
from lmm_tui.metrics.printable import printable
from lmm_tui.metrics.series.series import SeriesStore

_WIDTH = 13.0
_HEADER = 1.0
_GAP = 0.74
_GUTTER = 0.19
_LEFT, _RIGHT, _BOTTOM = 0.8, 0.45, 0.62
OTHERS_ON_A_PAGE = 180
"""More small panels make a picture that is too high for its format."""
MOST_PAGES = 4
"""A page takes seconds, and a log of a stranger may name thousands of metrics."""
_HAVE_PANELS = frozenset(
    {
        names.TRAIN_LOSS,
        names.TRAIN_LOSS_EMA,  # What is drawn as smoothed says more.
        names.VAL_LOSS,
        names.TRAIN_PPL,
        names.VAL_PPL,
        names.LR,
        names.GRAD_NORM,
        names.CLIP_RATE,
        names.TOKENS_PER_S,
    }
)


Page = Literal["whole", "training", "probes"]


@dataclass(frozen=True)
class _Row:
    """A row across the page; `draw` draws its panels into a cell of the page's grid."""

    inches: float
    draw: Callable[[Figure, SubplotSpec], None]


def page_count(source: PlotSource) -> int:
    """How many pages the curves of a run take."""
    return min(MOST_PAGES, max(1, -(-len(_others(source)) // OTHERS_ON_A_PAGE)))


def left_out(source: PlotSource) -> int:
    """How many curves are on no page."""
    return max(0, len(_others(source)) - MOST_PAGES * OTHERS_ON_A_PAGE)


def draw(page: Page, source: PlotSource, number: int = 1) -> Figure:
    """`training`: losses, rates, norms and other series; `probes`: the nine; `whole`: all.

    The pages after the first have other series only, as many as do not fit there.
    """
    rows: list[_Row] = []
    if page != "probes" and number == 1:
        rows += _training_rows(source)
    if page != "training" and number == 1:
        rows += _probe_rows(source)
    if page != "probes":
        begin = (number - 1) * OTHERS_ON_A_PAGE
        others = _others(source)[begin : begin + OTHERS_ON_A_PAGE]
        rows += _in_threes(source, others, panels.draw_other)
    count = page_count(source)
    return _page(
        source, rows, "" if count == 1 or page == "probes" else f"page {number} of {count}"
    )


def _training_rows(source: PlotSource) -> list[_Row]:
    store, window = source.store, StepWindow.of(source.store, source.resumed)

    def curves(figure: Figure, cell: SubplotSpec) -> None:
        grid = cell.subgridspec(1, 3, wspace=_GUTTER)
        panels.draw_loss(figure.add_subplot(grid[:2]), store, window, source.baselines)
        panels.draw_ppl(figure.add_subplot(grid[2]), store, window)

    def steps(figure: Figure, cell: SubplotSpec) -> None:
        grid = cell.subgridspec(1, 3, wspace=_GUTTER)
        panels.draw_lr(figure.add_subplot(grid[0]), store, window)
        rate = store.get(names.CLIP_RATE)
        if rate is None:
            panels.draw_grad_norm(figure.add_subplot(grid[1]), store, window)
        else:
            parts = grid[1].subgridspec(2, 1, height_ratios=[3, 1], hspace=0.36)
            norm, strip = figure.add_subplot(parts[0]), figure.add_subplot(parts[1])
            panels.draw_grad_norm(norm, store, window)
            norm.tick_params(labelbottom=False)
            norm.set_xlabel("")
            panels.draw_clip_rate(strip, rate, store.get(names.CLIP_RATIO), window)
        panels.draw_speed(figure.add_subplot(grid[2]), store, window)

    def layers(figure: Figure, cell: SubplotSpec) -> None:
        grid = cell.subgridspec(1, 2, width_ratios=[80, 1], wspace=0.02)
        chart, bar = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
        panels.draw_layer_norms(chart, bar, store, window)

    count = sum(name.startswith(names.GRAD_LAYER) for name in store.names())
    height = 1.0 + 0.1 * min(count, 18)
    return [_Row(3.5, curves), _Row(2.2, steps), _Row(height, layers)]


def _probe_rows(source: PlotSource) -> list[_Row]:
    if not any(source.store.get(names.PROBE + probe) for probe in names.PROBES):
        sentence = "This run was not probed: log.probe_every is 0, or no ModelProbe was attached."
        return [
            _Row(
                0.9, lambda figure, cell: draw_reason(figure.add_subplot(cell), "Probes", sentence)
            )
        ]
    return _in_threes(source, names.PROBES, panels.draw_probe)


def _others(source: PlotSource) -> list[str]:
    """The series that no panel of their own draws."""
    return [name for name in source.store.names() if not _has_panel(name)]


def _has_panel(name: str) -> bool:
    if name.startswith(names.PROBE):
        return name.rpartition("/")[2] in names.PROBES
    return name in _HAVE_PANELS or name.startswith(names.GRAD_LAYER)


def _in_threes(
    source: PlotSource,
    shown: Sequence[str],
    draw_one: Callable[[Axes, SeriesStore, StepWindow, str], None],
) -> list[_Row]:
    """Rows of three small panels, each drawn by `draw_one` for one of `shown`."""
    store, window = source.store, StepWindow.of(source.store, source.resumed)

    def three(chosen: Sequence[str]) -> _Row:
        def draw(figure: Figure, cell: SubplotSpec) -> None:
            grid = cell.subgridspec(1, 3, wspace=_GUTTER)
            for column, name in enumerate(chosen):
                draw_one(figure.add_subplot(grid[column]), store, window, name)

        return _Row(1.75, draw)

    return [three(shown[at : at + 3]) for at in range(0, len(shown), 3)]


def _page(source: PlotSource, rows: Sequence[_Row], which: str) -> Figure:
    inches = [row.inches for row in rows]
    height = _HEADER + sum(inches) + _GAP * (len(rows) - 1) + _BOTTOM
    figure = Figure(figsize=(_WIDTH, height), facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        len(rows),
        1,
        height_ratios=inches,
        left=_LEFT / _WIDTH,
        right=1 - _RIGHT / _WIDTH,
        top=1 - _HEADER / height,
        bottom=_BOTTOM / height,
        hspace=_GAP * len(rows) / sum(inches),
    )
    left = _LEFT / _WIDTH
    title = printable(source.title.replace("\n", " "))
    figure.text(left, 1 - 0.36 / height, title, fontsize=17, fontweight="bold", va="baseline")
    figure.text(
        left, 1 - 0.6 / height, _summary(source, which), fontsize=10, color=plot_style.MUTED
    )
    for at, row in enumerate(rows):
        row.draw(figure, grid[at])
    return figure


def _summary(source: PlotSource, which: str = "") -> str:
    """Progress and best validation loss of the run in one line, and which page this is."""
    store = source.store
    parts = [source.about] if source.about else []
    parts.append(f"step {plot_style.count(store.last_step or 0)}")
    loss, val = store.get(names.TRAIN_LOSS), store.get(names.VAL_LOSS)
    any_series = loss or val
    if any_series and any_series.tokens[-1] > 0:
        parts.append(f"{plot_style.number(any_series.tokens[-1], 3)} tokens")
    if val and (best := val.best("lower")):
        parts.append(
            f"best val loss {plot_style.number(best.value)} at step {plot_style.count(best.step)}"
        )
    if source.resumed:
        parts.append(
            "resumed at " + ", ".join(plot_style.count(step) for step in source.resumed[-4:])
        )
    return "   ·   ".join([*parts, *filter(None, [which])])


if __name__ == "__main__":
    demo = SeriesStore()
    demo.append({"step": 50, "tokens": 4096, names.TRAIN_LOSS: 7.0})
    page = draw("whole", PlotSource(demo, "demo"))
    print(len(page.axes), "axes;", _summary(PlotSource(demo, "demo")))
    print("=== 自测通过 ===")
