"""Runs are compared curve by curve, each in its colour, while they go on."""

from __future__ import annotations

import json
import shutil

import pytest
from fake_run import FakeRun
from looking import screen_text, toasts, until
from made_runs import make_run

from lmm_tui.charts.chart import Chart
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.screens.overlay_screen import OverlayScreen
from lmm_tui.cockpit.screens.runs_screen import RunsScreen
from lmm_tui.cockpit.widgets.table import Table
from lmm_tui.metrics.series.run_overlay import Overlay
from lmm_tui.metrics.series.series import SeriesStore


@pytest.fixture
def runs(tmp_path):
    made = [FakeRun(tmp_path / name) for name in ("calm", "wild")]
    for length, run in enumerate(made, start=1):
        run.train(1, 100 * length)
    yield made
    for run in made:
        run.close()


async def open_overlay(app, pilot):
    await until(
        pilot,
        lambda: isinstance(app.screen, RunsScreen) and len(app.screen.query_one(Table).rows) == 2,
    )
    await pilot.press("space", "space", "C")
    await until(pilot, lambda: isinstance(app.screen, OverlayScreen) and app.screen.query(Chart))


async def test_marked_runs_are_drawn_over_each_other_on_the_same_axes(runs, tmp_path):
    app = CockpitApp(runs_dir=tmp_path)
    async with app.run_test(size=(200, 50)) as pilot:
        await open_overlay(app, pilot)
        await until(pilot, lambda: "val loss" in screen_text(app))
        legend = screen_text(app).splitlines()[1]
        assert "calm" in legend and "wild" in legend
        charts = list(app.screen.query(Chart))
        assert {chart.title for chart in charts} >= {
            "loss",
            "val loss",
            "learning rate",
            "gradient norm",
        }
        assert all({trace.label for trace in c.plot.traces} == {"calm", "wild"} for c in charts)
        assert charts[0].whole.end >= 200
        colours = {trace.label: trace.color for c in charts for trace in c.plot.traces}
        assert colours["calm"] != colours["wild"]


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "linux", "COLORTERM": ""}])
async def test_without_colours_the_legend_has_the_signs_of_the_curves(
    runs, tmp_path, monkeypatch, environment
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    app = CockpitApp(runs_dir=tmp_path)
    async with app.run_test(size=(60, 15)) as pilot:
        await open_overlay(app, pilot)
        await until(pilot, lambda: screen_text(app).count("o") > 5)
        _, legend, *curves = screen_text(app).splitlines()
        signs = {name: legend[legend.index(name) - 2] for name in ("calm", "wild")}
        assert set(signs.values()) == {"o", "+"}
        assert all(sum(sign in row for row in curves) > 2 for sign in signs.values())


async def test_the_overlay_has_the_gestures_of_charts_and_goes_back(runs, tmp_path):
    app = CockpitApp(runs_dir=tmp_path)
    async with app.run_test(size=(120, 30)) as pilot:
        await open_overlay(app, pilot)
        chart = app.screen.query(Chart).first()
        await pilot.press("plus", "x", "shift+left")
        assert chart.view.window and chart.view.axis == "tokens" and chart.cursor is not None
        await pilot.press("x", "escape")
        assert chart.view.axis == "time" and chart.cursor is None
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)
        await pilot.press("C")
        await until(pilot, lambda: isinstance(app.screen, OverlayScreen))
        await pilot.press("2")
        assert isinstance(app.screen, RunsScreen)


async def test_a_run_that_goes_on_or_is_deleted_leaves_the_others(runs, tmp_path):
    app = CockpitApp(runs_dir=tmp_path)
    async with app.run_test(size=(120, 30)) as pilot:
        await open_overlay(app, pilot)
        shutil.rmtree(runs[0].dir.path)
        runs[1].train(201, 400)
        app.screen.look()
        await pilot.pause()
        assert app.screen.query(Chart).first().whole.last == 400


async def test_nothing_is_overlaid_before_something_is_marked(runs, tmp_path):
    app = CockpitApp(runs_dir=tmp_path)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        await pilot.press("C")
        assert "Mark runs" in toasts(app)[0]


def test_an_overlay_answers_for_all_its_stores():
    first, second = SeriesStore(), SeriesStore()
    both = Overlay({"a": first, "b": second})
    assert len(both) == 0 and both.last_step is None and both.names() == []
    for step in range(1, 11):
        first.append({"step": step, "tokens": step * 3, "m": 1.0})
    second.append({"step": 40, "tokens": 80, "n": 2.0})
    assert both.names() == ["m", "n"] and len(both) == 11
    assert both.span("step") == (1, 40) and both.span("tokens") == (3, 80)
    before = both.generation
    first.append({"step": 5, "m": 0.0})
    assert both.generation > before
    assert both.get(both.name("b", "m")) is None


def test_on_time_every_run_begins_at_zero_and_flops_are_its_tokens_by_their_cost():
    stores = {"a": SeriesStore(), "b": SeriesStore()}
    for step in range(1, 101):
        stores["a"].append({"step": step, "time": 1000 + step, "tokens": 10 * step, "loss": step})
        stores["b"].append({"step": step, "time": 9e8 + 2 * step, "tokens": step, "loss": -step})
    overlay = Overlay(stores, {"a": 6e6, "b": 3e6})
    assert overlay.span("time") == (0.0, 198.0) and overlay.span("flops") == (3e6, 6e9)
    late = overlay.get(Overlay.name("b", "loss"))
    assert late.nearest(98.0, "time").step == 50 and late.span("time") == (0.0, 198.0)
    assert late.nearest(1.5e8, "flops").value == -50
    early = overlay.get(Overlay.name("a", "loss")).bins(0.0, 6e9, 100, "flops")
    assert list(early.mean[1:-1]) == list(range(1, 99))
    assert overlay.translate(3e9, "flops", "tokens") == 500.0
    assert overlay.tokens_a_step() == {"a": 10.0, "b": 1.0}


async def test_runs_with_other_tokens_a_step_are_first_shown_on_tokens(tmp_path):
    for name, batch in (("small", 1), ("large", 4)):
        run = make_run(tmp_path, name)
        rows = [
            {"step": step, "time": step, "tokens": 64 * batch * step, "train/loss": 9.0 - step}
            for step in range(1, 9)
        ]
        run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    app = CockpitApp(runs_dir=tmp_path)
    async with app.run_test(size=(120, 30)) as pilot:
        await open_overlay(app, pilot)
        await until(pilot, lambda: app.screen.query(Chart).first().view.axis == "tokens")
        await pilot.press("x", "x")
        await until(pilot, lambda: "FLOPs" in screen_text(app))
