"""The panels of a page: each draws one metric of a run, or the note that it was not logged."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator

from lmm_tui.metrics import names
from lmm_tui.metrics.plots import plot_style
from lmm_tui.metrics.plots.layer_map import draw_map
from lmm_tui.metrics.plots.panel_axes import (
    Entry,
    broken_steps,
    draw_heading,
    draw_line,
    draw_raw,
    draw_reason,
    finish,
    fit_y,
    last_value,
    mark_broken,
    mark_outside,
    step_axis,
)
from lmm_tui.metrics.plots.plotted_curve import Curve, StepWindow
from lmm_tui.metrics.running_averages import CLIP_WINDOW
from lmm_tui.metrics.series.growing_array import Floats
from lmm_tui.metrics.series.series import Series, SeriesStore
from lmm_tui.metrics.series.smoothing import recent_mean
from lmm_tui.metrics.values import MAX_LOSS_OF_PPL, wilson_interval


def draw_loss(
    ax: Axes, store: SeriesStore, window: StepWindow, baselines: Mapping[str, float]
) -> None:
    """Raw, smoothed and validation loss, with the baselines."""
    raw, val = map(store.get, (names.TRAIN_LOSS, names.VAL_LOSS))
    if raw is val is None:
        draw_reason(ax, "Loss", "No loss was logged (train/loss, val/loss).")
        return
    _draw_splits(ax, window, raw, val, raw)
    _draw_baselines(ax, baselines)
    entries = [*broken_steps(raw, val), *_split_values(raw, val)]
    if raw is not None and np.isfinite(now := recent_mean(raw.values)):
        entry = f"smoothed {plot_style.number(now)}", plot_style.TRAIN
        entries.insert(-1 if val else len(entries), entry)
    finish(ax, window, "Loss, nats per token", entries)


def draw_ppl(ax: Axes, store: SeriesStore, window: StepWindow) -> None:
    """Perplexity on a log scale; the smoothed line is the perplexity of the smoothed loss."""
    raw, loss, val = map(store.get, (names.TRAIN_PPL, names.TRAIN_LOSS, names.VAL_PPL))
    if raw is val is None:
        draw_reason(ax, "Perplexity", "No perplexity was logged (train/ppl, val/ppl).")
        return
    if any((series.values > 0).any() for series in (raw, val) if series is not None):
        ax.set_yscale("log")
    _draw_splits(ax, window, raw, val, loss, of_smooth=_perplexity)
    finish(ax, window, "Perplexity", _split_values(raw, val))


def draw_lr(ax: Axes, store: SeriesStore, window: StepWindow) -> None:
    series = store.get(names.LR)
    if series is None:
        draw_reason(ax, "Learning rate", "No learning rate was logged (train/lr).")
        return
    curve = Curve.of(series, window)
    draw_line(ax, curve, plot_style.TRAIN)
    fit_y(ax, [curve], floor=0.0)
    finish(ax, window, "Learning rate", [last_value(series, "", plot_style.TRAIN)])


def draw_grad_norm(ax: Axes, store: SeriesStore, window: StepWindow) -> None:
    """The norm before clipping; on a log scale if its peak is far above the median."""
    norm = store.get(names.GRAD_NORM)
    if norm is None:
        draw_reason(ax, "Gradient norm", "No gradient norm was logged (train/grad_norm).")
        return
    curve = Curve.of(norm, window)
    draw_raw(ax, curve, plot_style.TRAIN)
    fit_y(ax, [curve], floor=0.0)
    finite = curve.mean[np.isfinite(curve.mean)]
    if len(finite) and 0 < 30 * np.median(finite) < ax.get_ylim()[1]:
        ax.set_yscale("log")
        fit_y(ax, [curve])
    mark_outside(ax, curve, plot_style.TRAIN)
    mark_broken(ax, curve)
    finish(
        ax, window, "Gradient norm", [*broken_steps(norm), last_value(norm, "", plot_style.TRAIN)]
    )


def draw_clip_rate(ax: Axes, rate: Series, ratio: Series | None, window: StepWindow) -> None:
    """Share of steps that were clipped, as a strip to place below the norm."""
    curve = Curve.of(rate, window)
    ax.fill_between(curve.x, 0, curve.mean, color=plot_style.VAL, alpha=0.25, lw=0)
    draw_line(ax, curve, plot_style.VAL, width=1.2)
    low, high = wilson_interval(rate.last_value or 0.0, min(len(rate), CLIP_WINDOW))
    entries = [(f"clip rate {_percent(rate)} ({low:.0%} to {high:.0%})", plot_style.VAL)]
    if ratio is not None:
        entries.append(last_value(ratio, "ratio ", plot_style.VAL))
    finish(ax, window, "", entries)
    ax.set_ylim(0, 1.08)
    ax.yaxis.set_major_locator(FixedLocator([0, 1]))
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def draw_speed(ax: Axes, store: SeriesStore, window: StepWindow) -> None:
    series, mfu = store.get(names.TOKENS_PER_S), store.get(names.MFU)
    if series is None:
        draw_reason(ax, "Throughput", "No speed was logged (train/tokens_per_s).")
        return
    curve = Curve.of(series, window)
    draw_raw(ax, curve, plot_style.TRAIN)
    fit_y(ax, [curve], floor=0.0)
    entries = [(f"MFU {_percent(mfu)}", plot_style.MUTED)] if mfu else []
    finish(ax, window, "Tokens/s", [*entries, last_value(series, "", plot_style.TRAIN)])


def draw_layer_norms(ax: Axes, bar: Axes, store: SeriesStore, window: StepWindow) -> None:
    """Heat map of the gradient norm of each layer, with its colour scale in `bar`."""
    title = "Gradient norm by layer"
    layers = [name for name in store.names() if name.startswith(names.GRAD_LAYER)]
    rows = [series for name in layers if (series := store.get(name))]
    if not rows:
        bar.set_axis_off()
        draw_reason(ax, title, "No layer norms were logged (grad/<layer>).")
        return
    labels = [name.removeprefix(names.GRAD_LAYER) for name in layers]
    zeros = draw_map(ax, bar, rows, labels, window)
    entries = [("grey: exactly 0", plot_style.MUTED)] if zeros else []
    draw_heading(ax, title, [*entries, *broken_steps(*rows)])
    step_axis(ax, window)
    ax.set_xlim(window.first, window.last)


def draw_probe(ax: Axes, store: SeriesStore, window: StepWindow, probe: str) -> None:
    """One probe number; each layer it was measured in is a thin line."""
    name = names.PROBE + probe
    shown, series = names.describe(name), store.get(name)
    title = shown.title[0].upper() + shown.title[1:] + (f", {shown.unit}" if shown.unit else "")
    if series is None:
        draw_reason(ax, title, "Not measured.")
        return
    colour = plot_style.TRAIN if probe in names.OUTPUT_PROBES else plot_style.REPRESENTATION
    curves = [Curve.of(series, window)]
    for other in store.names():
        layer = store.get(other)
        if layer and other.startswith(names.PROBE) and other.endswith(f"/{probe}"):
            curves.append(Curve.of(layer, window))
            x, mean = curves[-1].x, curves[-1].mean
            dot = "." if len(layer) == 1 else ""
            ax.plot(x, mean, marker=dot, color=colour, lw=0.8, alpha=0.4)
    draw_line(ax, curves[0], colour)
    fit_y(ax, curves)
    finish(ax, window, title, [*broken_steps(series), last_value(series, "", colour)])


def draw_other(ax: Axes, store: SeriesStore, window: StepWindow, name: str) -> None:
    """A series of which only the name is known."""
    series = store.get(name)
    assert series is not None
    curve = Curve.of(series, window)
    draw_raw(ax, curve, plot_style.OTHER)
    fit_y(ax, [curve])
    mark_outside(ax, curve, plot_style.OTHER)
    mark_broken(ax, curve)
    title = names.describe(name).whole
    finish(ax, window, title, [*broken_steps(series), last_value(series, "", plot_style.OTHER)])


def _draw_splits(
    ax: Axes,
    window: StepWindow,
    raw: Series | None,
    val: Series | None,
    smooth: Series | None,
    of_smooth: Callable[[Floats], Floats] = np.asarray,
) -> None:
    """Training values as a band behind the smoothed line of a series, validation as a line."""
    curves = [Curve.of(series, window) for series in (raw, val) if series is not None]
    if raw is not None:
        draw_raw(ax, curves[0], plot_style.TRAIN, behind=smooth is not None)
    if smooth is not None:
        curves.append(Curve.of(smooth, window).smoothed().mapped(of_smooth))
        draw_line(ax, curves[-1], plot_style.TRAIN)
    if val is not None:
        draw_line(ax, Curve.of(val, window), plot_style.VAL)
    fit_y(ax, curves)
    if raw is not None:
        mark_outside(ax, curves[0], plot_style.TRAIN)
        mark_broken(ax, curves[0])


def _split_values(raw: Series | None, val: Series | None) -> list[Entry]:
    shown = ((raw, "train ", plot_style.TRAIN), (val, "val ", plot_style.VAL))
    return [last_value(one, label, colour) for one, label, colour in shown if one is not None]


def _perplexity(loss: Floats) -> Floats:
    return np.exp(np.minimum(loss, MAX_LOSS_OF_PPL))


def _draw_baselines(ax: Axes, baselines: Mapping[str, float]) -> None:
    """Baselines as dashed lines; those far outside of the y range are left out."""
    low, high = ax.get_ylim()
    reach = 0.35 * (high - low)
    seen = {label: y for label, y in baselines.items() if low - reach <= y <= high + reach}
    for label, y in seen.items():
        ax.axhline(y, color=plot_style.MUTED, lw=0.9, ls=(0, (4, 3)), zorder=2)
        ax.annotate(
            f"{label} {plot_style.number(y, 3)}",
            (1, y),
            xycoords=ax.get_yaxis_transform(),
            xytext=(-3, 3),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=plot_style.MUTED,
            zorder=5,
        )
    room = 0.05 * (high - low)
    ax.set_ylim(
        min([low, *(y - room for y in seen.values())]),
        max([high, *(y + 1.6 * room for y in seen.values())]),
    )


def _percent(series: Series) -> str:
    return f"{series.last_value:.0%}"


if __name__ == "__main__":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    axes = FigureCanvasAgg(Figure()).figure.add_subplot()
    draw_lr(axes, SeriesStore(), StepWindow.of(SeriesStore()))
    print([text.get_text() for text in axes.texts])
    print("=== 自测通过 ===")
