"""The charts of a dashboard are those that the stage of the run describes."""

from __future__ import annotations

from lmm_tui.charts.chart import Chart
from lmm_tui.cockpit.screens.dashboard_panels import make_charts, numbers_of, titles_of
from lmm_tui.metrics.metric_name import MetricName
from lmm_tui.metrics.stages.built_in import BUILT_IN, info_of
from lmm_tui.metrics.stages.stage_info import StageInfo, StageTrace


def test_the_chart_of_a_stage_of_somebody_s_own_is_a_panel() -> None:
    info = StageInfo(
        "sort",
        metrics={"sort/right": MetricName("digits right")},
        chart="sorting",
        traces=(StageTrace("sort/right", "right", "no such colour"),),
        chart_first=True,
    )
    charts = {chart.id: chart for chart in make_charts(info)}
    first = charts["first"]
    assert isinstance(first, Chart) and first.title == "sorting"
    assert titles_of(info) == {"first": "sorting", "second": "loss"}
    assert numbers_of(info)[0] == "sort/right"


def test_a_stage_of_which_nothing_is_known_has_loss_and_perplexity() -> None:
    assert titles_of(info_of("mine")) == {"first": "loss", "second": "perplexity"}
    titles = {name: titles_of(info)["second"] for name, info in BUILT_IN.items()}
    assert titles == {
        "pretrain": "perplexity",
        "sft": "perplexity",
        "dpo": "preference",
        "kto": "preference",
        "reward": "preference",
        "grpo": "loss",
        "distill": "teacher",
    }
