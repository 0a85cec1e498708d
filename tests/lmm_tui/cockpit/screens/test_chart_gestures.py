"""Any part of a run can be looked at closely, on any axis, and the values at any step read off."""

from __future__ import annotations

import numpy as np
import pytest
from fake_run import FakeRun
from hypothesis import example, given
from hypothesis import strategies as st
from looking import cockpit, toasts, until, until_reserved

from lmm_tui.charts.braille import ASCII, text_of
from lmm_tui.charts.canvas import ALARM
from lmm_tui.charts.chart import Chart, Mark, Trace
from lmm_tui.charts.heatmap import HeatMap
from lmm_tui.charts.plot import Plot
from lmm_tui.charts.plot_area import GUTTER
from lmm_tui.charts.viewport import (
    Viewport,
    Whole,
    fit,
    onto,
    pan,
    smoother,
    to_live_edge,
    to_start,
    zoom,
)
from lmm_tui.cockpit.screens.dashboard_panels import marks_of
from lmm_tui.engine.run.events import EventLog, RunEvent
from lmm_tui.metrics.series.series import SeriesStore
from lmm_tui.metrics.series.smoothing import centred_mean

ONE = [Trace("m", "m", "green", "line")]
RUN = Whole(0, 1000, 900)


def store_of(size: int = 1000) -> SeriesStore:
    store = SeriesStore()
    steps = np.arange(1, size + 1)
    values = 10.0 * np.exp(-steps / 50) + 1 + 0.01 * np.sin(steps)
    store.extend(steps, {"m": (None, values)}, 1e9 + 2.0 * steps, 64.0 * steps)
    return store


def drawn(store: SeriesStore, view: Viewport, **more: object) -> list[str]:
    return text_of(Plot("m", ONE).draw(store, 80, 14, 1000, view=view, **more).codes)  # type: ignore[arg-type]


# Windows


def test_zooming_in_stays_at_the_live_edge_and_follows_the_run() -> None:
    view = zoom(4)(Viewport(), RUN)
    start, end = view.span(RUN)
    assert view.follows and start < RUN.last <= end and end - start == 250
    later = view.span(Whole(0, 2000, 1900))
    assert later[0] < 1900 <= later[1] and later[1] - later[0] == 250


def test_a_window_that_follows_moves_in_hops() -> None:
    view = zoom(4)(Viewport(), RUN)
    places = {view.span(Whole(0, 2000, last)) for last in range(1000, 1250)}
    assert 4 < len(places) <= 10


def test_zooming_at_a_place_keeps_it_where_it_is() -> None:
    start, end = zoom(2, at=300)(Viewport(), RUN).span(RUN)
    assert (300 - start) / (end - start) == pytest.approx(0.3)


def test_panning_leaves_the_live_edge_and_comes_back_to_it() -> None:
    close = zoom(4)(Viewport(), RUN)
    back = pan(-0.5)(close, RUN)
    assert not back.follows and back.span(RUN)[0] < close.span(RUN)[0]
    assert pan(0.5)(back, RUN).follows
    assert to_live_edge(back, RUN).follows
    assert to_start(back, RUN).span(RUN) == (0, 250)


@given(
    st.lists(
        st.sampled_from([zoom(2), zoom(0.5), zoom(3, 77), pan(-0.5), pan(0.5), fit, to_start])
        | st.sampled_from([to_live_edge, smoother]),
        max_size=30,
    ),
    st.floats(1, 1e7),
)
@example([zoom(2)], 4.7)  # The window is rounded to 3.9999999999999996 here.
def test_no_gestures_lead_out_of_the_run(gestures: list, last: float) -> None:
    whole, view = Whole(0, max(1.2 * last, 8), last), Viewport()
    for gesture in gestures:
        view = gesture(view, whole)
        start, end = view.span(whole)
        assert 0 <= start < end
        assert end <= whole.end + 1e-6 * whole.end
        assert end - start >= min(4, whole.end)


def test_the_same_part_of_a_run_is_shown_on_another_axis() -> None:
    store = store_of()
    view = onto("tokens", Viewport(window=(200, 400)), store)
    assert view.window == (200 * 64, 400 * 64)
    assert onto("step", view, store).window == (200, 400)
    assert onto("time", Viewport(window=(200, 400)), store).window == (1e9 + 400, 1e9 + 800)


# Pictures


def test_y_is_fitted_to_what_is_shown() -> None:
    store = store_of()
    whole, close = drawn(store, Viewport()), drawn(store, Viewport(window=(500, 900)))
    assert "10" in "".join(row[:GUTTER] for row in whole)
    labels = [row[: GUTTER - 1].strip() for row in close[1:-2]]
    values = [float(label) for label in labels if label]
    assert min(values) > 0.95 and max(values) < 1.05
    assert "500" in close[-1] and "900" in close[-1]
    assert "zoom" in close[0]


def test_the_cursor_shows_the_values_of_its_step() -> None:
    store = store_of()
    store.append({"step": 1001, "m": 77.5})
    title = drawn(store, Viewport(), cursor=1001)[0]
    assert "77.5" in title and "step 1,001" in title
    line = [row[GUTTER:].find("│") for row in drawn(store, Viewport(), cursor=500)[1:-2]]
    assert len({at for at in line if at >= 0}) == 1
    assert sum(at >= 0 for at in line) >= 9


def test_the_nearest_value_is_found_on_every_axis() -> None:
    store = SeriesStore()
    for step in (10, 20, 40):
        store.append({"step": step, "time": 1e9 + step, "tokens": 5 * step, "m": float(step)})
    store.append({"step": 50, "other": 1.0})
    series = store.get("m")
    assert series is not None
    places = [(-5, 10), (14, 10), (15, 10), (16, 20), (31, 40), (50, 40), (1e9, 40)]
    assert [series.nearest(x, "step").step for x, _ in places] == [step for _, step in places]
    assert series.nearest(155, "tokens").step == 40
    assert series.nearest(1e9 + 11, "time") == (10, 10.0)


def test_events_are_marks_on_the_axis_and_alerts_win() -> None:
    marks = [Mark(250, False), Mark(500, True), Mark(501, False), Mark(2000, True)]
    plot = Plot("m", ONE, glyphs=ASCII)
    canvas = plot.draw(store_of(), 80, 14, 1000, marks=marks)
    axis = text_of(canvas.codes)[-2]
    assert axis.count("!") == 1 and axis.count("*") == 1
    assert axis.index("*") < axis.index("!")
    assert canvas.inks[-2, axis.index("!")] == ALARM


def test_only_what_may_explain_a_curve_is_marked() -> None:
    events = [
        RunEvent(3, "alert", "loss is NaN", "error"),
        RunEvent(4, "alert", "written again"),
        RunEvent(5, "command", "set: optim.lr = 1"),
        RunEvent(6, "command", "probe: done"),
        RunEvent(7, "resume", "from step-000000007"),
        RunEvent(8, "checkpoint", "step-000000008"),
        RunEvent(None, "alert", "no step", "error"),
    ]
    assert marks_of(events) == (Mark(3, True), Mark(5, False), Mark(7, False))


def test_smoothing_is_centred_and_keeps_gaps() -> None:
    values = np.array([4.0, np.nan, 2.0, 2.0, 8.0])
    calm = centred_mean(values, 0.5)  # One value on either side of each, none at the ends.
    assert np.isnan(calm[1])
    assert calm[[0, 2, 3, 4]] == pytest.approx([4.0, 8 / 3, 4.0, 8.0])
    assert centred_mean(values, 0.0) is values


# Keys and mouse


@pytest.fixture
def run(tmp_path):
    made = FakeRun(tmp_path / "first-words")
    made.train(1, 400)
    yield made
    made.close()


def views(app):
    return {picture.id: picture.view for picture in app.screen.charts}


async def test_gestures_go_to_all_pictures_or_to_the_focused_one(run):
    async with cockpit(run, (200, 50)) as (app, pilot):
        # Charts that are kept in reserve for other pages have nothing to zoom.
        await until_reserved(pilot)
        await pilot.press("plus", "plus", "left")
        assert len(set(views(app).values())) == 1
        window = views(app)["first"].span(app.screen.query(Chart).first().whole)
        await pilot.press("0", "tab", "plus")
        focused = app.focused.id
        assert [name for name, view in views(app).items() if view.window] == [focused]
        await pilot.press("0", "escape")
        assert set(views(app).values()) == {Viewport()}
        assert window[1] - window[0] < 200


async def test_without_colours_the_name_of_the_picture_with_the_focus_stands_out(run, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    def standing_out():
        lines = {each.id: each.render_line(0) for each in app.screen.charts if each.size}
        return [
            name
            for name, line in lines.items()
            if any(part.style and part.style.reverse for part in line)
        ]

    async with cockpit(run, (200, 50)) as (app, pilot):
        assert standing_out() == []
        await pilot.press("tab")
        await until(pilot, lambda: standing_out() == [app.focused.id])
        await pilot.press("escape")
        await until(pilot, lambda: standing_out() == [])


async def test_zooming_further_than_it_goes_says_so_once(run):
    async with cockpit(run, (80, 24)) as (app, pilot):
        await pilot.press(*["plus"] * 12)
        assert toasts(app) == ["This is as near as it gets."]
        first = app.screen.query_one("#first", Chart)
        assert not first.view.can_zoom(2, first.whole)


async def test_zooming_out_of_all_there_is_says_so(run):
    async with cockpit(run, (80, 24)) as (app, pilot):
        await pilot.press("plus", "minus")
        assert not toasts(app)
        await pilot.press("minus")
        assert toasts(app) == ["All of it is shown."]


async def test_every_chart_key_does_what_the_help_says(run):
    async with cockpit(run, (200, 50)) as (app, pilot):
        first = app.screen.query_one("#first", Chart)
        before = first.plot.log
        await pilot.press("y", "s", "x")
        assert first.plot.log is not before
        assert first.view.smoothing == 1 and first.view.axis == "tokens"
        await pilot.press("x", "x", "x")
        assert first.view.axis == "step"
        await pilot.press("y", "s", "s", "s", "plus", "home")
        assert first.view.window[0] == 0 and not first.view.follows
        await pilot.press("end")
        assert first.view.follows
        await pilot.press("minus", "minus")
        assert first.view == Viewport()


async def test_the_cursor_is_the_same_in_all_pictures_until_escape(run):
    async with cockpit(run, (200, 50)) as (app, pilot):
        await pilot.press("shift+left", "shift+left", "shift+right")
        cursors = {picture.cursor for picture in app.screen.charts}
        assert len(cursors) == 1 and None not in cursors
        await pilot.press("escape")
        assert {picture.cursor for picture in app.screen.charts} == {None}


async def test_a_click_sets_the_cursor_and_the_wheel_zooms_there(run):
    async with cockpit(run, (200, 50)) as (app, pilot):
        chart = app.screen.query_one("#first", Chart)
        await pilot.mouse_down(chart, offset=(GUTTER + 30, 5))
        await pilot.mouse_up(chart, offset=(GUTTER + 30, 5))
        await pilot.pause()
        start, end = chart.view.span(chart.whole)
        share = (chart.cursor - start) / (end - start)
        assert share == pytest.approx(30 / chart.data_cells()[1], abs=0.02)
        heat_map = app.screen.query_one(HeatMap)
        assert heat_map.cursor == chart.cursor
        chart.post_message(chart.Pointed(chart, chart.cursor, 1.25))
        await pilot.pause()
        assert (chart.view.window and heat_map.view.window == chart.view.window) or app.focused


async def test_alerts_of_the_run_are_marks_on_the_charts(run):
    EventLog(run.dir).write("alert", "loss is NaN", step=200, level="error")
    async with cockpit(run, (200, 50)) as (app, _):
        assert app.screen.query_one("#first", Chart).marks == (Mark(200, True),)


async def test_gestures_on_a_run_without_values_do_nothing(tmp_path):
    empty = FakeRun(tmp_path / "empty")
    async with cockpit(empty, (200, 50)) as (app, pilot):
        keys = "plus minus left right up down home end 0 x y s shift+left escape"
        await pilot.press(*keys.split())
        assert set(views(app).values()) == {Viewport()}
    empty.close()
