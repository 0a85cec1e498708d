"""The charts of the dashboard: which series share a plot, in which colours, on which axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from lmm_tui.charts.braille import glyphs_for
from lmm_tui.charts.chart import Chart, Kind, Mark, Trace
from lmm_tui.charts.heatmap import HeatMap
from lmm_tui.charts.plot import Plot
from lmm_tui.charts.run_chart import RunChart
from lmm_tui.engine.run.events import RunEvent
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.metric_titles import title_of
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.metrics import names
from lmm_tui.metrics.drawing.palette import SERIES_COLORS, SeriesColor
from lmm_tui.metrics.stages.stage_info import StageInfo

AnyChart = TypeVar("AnyChart", bound=RunChart)

LAYER_NORMS = names.GRAD_LAYER

_LOSS = "loss"
_TRACES = {
    _LOSS: [
        Trace(names.TRAIN_LOSS, mark("train"), "blue", "band"),
        Trace(names.TRAIN_LOSS, mark("smoothed"), "blue", "smooth"),
        Trace(names.VAL_LOSS, mark("val"), "orange", "marks"),
    ],
    mark("perplexity"): [
        Trace(names.TRAIN_PPL, mark("train"), "blue", "line"),
        Trace(names.VAL_PPL, mark("val"), "orange", "marks"),
    ],
    mark("gradient norm"): [Trace(names.GRAD_NORM, mark("norm"), "blue", "line")],
    mark("clip rate"): [Trace(names.CLIP_RATE, mark("clip rate"), "blue", "line")],
    mark("learning rate"): [Trace(names.LR, mark("LR"), "blue", "line")],
    mark("tokens/s"): [Trace(names.TOKENS_PER_S, mark("tokens/s"), "blue", "line")],
}
_BASELINES = {
    "ln V": mark("random guess"),
    "unigram": mark("word frequencies"),
    "bigram": mark("bigrams"),
}
"""What a loss level is reached by."""
_UNITS = {_LOSS: mark("nats"), "clip rate": mark("share of steps")}


def titles_of(stage: StageInfo) -> dict[str, str]:
    """The titles of the two charts that depend on the stage; `first` is the largest panel."""
    own = stage.chart if stage.traces else "perplexity"
    first, second = (own, _LOSS) if stage.chart_first else (_LOSS, own)
    return {"first": first, "second": second}


def numbers_of(stage: StageInfo) -> tuple[str, ...]:
    """The metrics in the panel of numbers: those of the stage, then probes as far as they fit."""
    probes = tuple(names.PROBE + probe for probe in (*names.TELLING_PROBES, *names.PROBES))
    probes = tuple(dict.fromkeys(probes))
    return (stage.numbers + probes)[: len(names.PROBES)]


def make_charts(stage: StageInfo, *, smoothed: bool = True) -> list[Chart | HeatMap]:
    """A chart per panel of the overview, with the id of the panel.

    Where there is no smoothed loss, as in logs of other programs, the loss itself is drawn bold.
    """
    charts: list[Chart | HeatMap] = []
    for panel, title in _panels_of(stage).items():
        own = title == stage.chart and title not in _TRACES
        traces = _traces_of(stage) if own else _TRACES[title]
        if title == _LOSS and not smoothed:
            traces = [replace(trace, kind="line") if trace.kind == "band" else trace
                      for trace in traces]  # fmt: skip
        unit, log = _UNITS.get(title, ""), title == "perplexity"
        charts.append(Chart(title, traces, log=log, unit=unit, id=panel))
    charts.append(HeatMap(tr("layer grad norms"), id="layers"))
    return [_as_panel(chart) for chart in charts]


def main_plot(stage: StageInfo, *, smoothed: bool = True) -> Plot:
    """The plot of the largest panel, for previews of a run."""
    title = titles_of(stage)["first"]
    traces = _TRACES.get(title) or _traces_of(stage)
    if not smoothed:
        traces = [replace(each, kind="line") for each in traces if each.kind != "smooth"]
    return Plot(title, traces, unit=_UNITS.get(title, ""), glyphs=glyphs_for())


def _traces_of(stage: StageInfo) -> list[Trace]:
    """A stage that a run describes may name colours that there are not."""
    colors = {str(color): color for color in SERIES_COLORS}
    return [
        Trace(it.metric, it.label, colors.get(it.color, SERIES_COLORS[0]), it.kind)
        for it in stage.traces
    ]


def _panels_of(stage: StageInfo) -> dict[str, str]:
    """By panel of the overview, the title of its chart."""
    return {
        **titles_of(stage),
        "grad": "gradient norm",
        "clip": "clip rate",
        "lr": "learning rate",
        "speed": "tokens/s",
    }


def panels_without_data(measured: Sequence[str], events: Sequence[RunEvent]) -> frozenset[str]:
    """The panels of the overview that a log of another program leaves empty."""
    names_of = {
        panel: {trace.metric for trace in _TRACES[title]}
        for panel, title in _panels_of(StageInfo("")).items()
    }
    absent = {panel for panel, metrics in names_of.items() if metrics.isdisjoint(measured)}
    if not measured:
        absent.discard("first")
    absent |= {"samples"} | (set() if events else {"events"})
    if not any(name.startswith(LAYER_NORMS) for name in measured):
        absent.add("layers")
    if not any(name.startswith(names.PROBE) for name in measured):
        absent.add("probes")
    return frozenset(absent)


def make_metric_chart() -> Chart:
    """A chart without a metric yet, hidden until it gets one."""
    chart = _as_panel(Chart("", ()))
    chart.display = False
    return chart


def plot_of(metric: str) -> Plot:
    """The plot of one metric in the colour of its part of the data; rare values are marks."""
    known = names.describe(metric)
    kind: Kind = "marks" if metric.startswith(("val/", names.PROBE)) else "line"
    color: SeriesColor = "orange" if metric.startswith("val/") else "blue"
    title = title_of(metric)
    return Plot(
        title,
        [Trace(metric, title, color, kind)],
        log=known.log,
        unit=known.unit,
        glyphs=glyphs_for(),
    )


def make_layer_map(prefix: str, panel: str) -> HeatMap:
    """A map with layers as rows, for the series with this prefix, such as `deep/act_rms/`."""
    family = prefix.removeprefix(names.DEEP).strip("/")
    return _as_panel(HeatMap(tr("{what} by layer", what=tr(names.DEEP_LAYERS[family])), id=panel))


def _as_panel(chart: AnyChart) -> AnyChart:
    chart.can_focus = True
    chart.add_class("picture")
    return chart


def references_for(chart: Chart, levels: Mapping[str, float]) -> Mapping[str, float]:
    """The baselines to draw in a chart by label: those of the loss in its own."""
    if chart.title != _LOSS:
        return {}
    return {
        f"{tr(_BASELINES.get(name, name))} {level:.2f}": level for name, level in levels.items()
    }


def marks_of(events: Sequence[RunEvent]) -> tuple[Mark, ...]:
    """The events that may explain a curve: alerts, resumes and changes by command."""
    marks = {}
    for event in events:
        alert = event.kind == "alert" and event.level in ("warning", "error")
        if event.step is None or event.abandoned:
            continue
        if alert or event.kind == "resume" or _steers(event):
            marks[event.step, alert] = Mark(event.step, alert, translate_message(event.message))
    return tuple(marks.values())


def _steers(event: RunEvent) -> bool:
    """Whether a command changed the course of the run; one that was refused did not."""
    command = event.message.partition(":")[0]
    done = event.kind == "command" and event.details.get("ok") is not False
    return done and command in ("set", "set again", "pause", "resume", "rollback")


if __name__ == "__main__":
    from lmm_tui.metrics.stages.grpo import GRPO
    from lmm_tui.metrics.stages.pretrain import PRETRAIN

    print([made.id for made in make_charts(GRPO)], titles_of(GRPO), numbers_of(GRPO))
    assert titles_of(PRETRAIN) == {"first": "loss", "second": "perplexity"}
    print("=== 自测通过 ===")
