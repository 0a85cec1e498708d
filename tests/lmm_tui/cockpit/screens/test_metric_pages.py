"""Every metric of a run has a chart within reach, however many there are, and health has a line."""

from __future__ import annotations

import pytest
from fake_run import FakeRun
from hypothesis import given
from hypothesis import strategies as st
from looking import cockpit, screen_text, until, until_read
from textual.geometry import Region, Size

from lmm_tui.charts.chart import Chart
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.pinned_metrics import PinnedMetrics
from lmm_tui.cockpit.preferences import Preferences, keep, load
from lmm_tui.cockpit.screens.dashboard_pages import DashboardPages
from lmm_tui.cockpit.screens.metric_groups import grid, grouped, matching
from lmm_tui.cockpit.screens.page_layouts import pages_for
from lmm_tui.cockpit.widgets.filter_input import FilterInput
from lmm_tui.cockpit.widgets.health_panel import HealthPanel
from lmm_tui.cockpit.widgets.panel_grid import PanelGrid
from lmm_tui.engine.run.reader import Reader
from lmm_tui.i18n.metric_titles import title_of


@pytest.fixture
def run(tmp_path):
    made = FakeRun(tmp_path / "first-words")
    made.train(1, 200)
    yield made
    made.close()


def open_metrics(app):
    """Of the charts that are shown, one metric each."""
    return [chart.metrics[0] for chart in charts_of_metrics(app) if chart.display]


def shown_page(app):
    return app.screen.query_one(PanelGrid).page.title


def charts_of_metrics(app):
    """Shown or in reserve; those of the overview have a name."""
    return [chart for chart in app.screen.query(Chart) if chart.id is None]


async def test_a_page_that_nobody_has_opened_has_its_charts_already(run):
    async with cockpit(run, size=(200, 50)) as (app, pilot):
        pages = app.screen.pages
        most = max(sum(panel.startswith("metric") for panel in page.panels) for page in pages)
        assert most > 0
        await until(pilot, lambda: len(charts_of_metrics(app)) >= most)
        made = charts_of_metrics(app)
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: open_metrics(app))
        assert charts_of_metrics(app) == made


@given(st.integers(1, 60), st.integers(60, 400), st.integers(10, 100))
def test_a_grid_has_every_panel_once_in_equal_cells(count: int, width: int, height: int) -> None:
    panels = [f"p{number}" for number in range(count)]
    pages = grid("all", panels, Size(width, height))
    assert sorted(panel for page in pages for panel in page.panels) == sorted(panels)
    for page in pages:
        regions = [region for _, region in page.regions(Size(width, height))]
        widths, heights = {each.width for each in regions}, {each.height for each in regions}
        assert max(widths) - min(widths) <= 1 and max(heights) - min(heights) <= 1
        assert all(Region(0, 0, width, height).contains_region(region) for region in regions)
        assert all(region.height >= 9 for region in regions)


def test_every_metric_has_a_group_and_keeps_its_order() -> None:
    metrics = ["val/loss", "train/lr", "mine/b", "grpo/kl", "train/loss", "mine/a", "probe/entropy"]
    groups = grouped(metrics)
    assert sorted(name for group in groups.values() for name in group) == sorted(metrics)
    assert groups["loss"] == ["val/loss", "train/loss"] and groups["other"] == [
        "mine/b",
        "mine/a",
    ]


def test_a_number_of_a_layer_has_a_title_and_a_count_of_tokens_comes_last() -> None:
    measured = ["probe/n_tokens", "probe/entropy", "probe/layers.0/cosine_sim_intra"]
    assert grouped(measured)["probes"] == [*measured[1:], measured[0]]
    titles = [title_of(name) for name in (*measured, "grad/embed", "deep/act_rms/layers.3")]
    assert titles[:2] == ["probed tokens", "entropy"]
    assert titles[2:4] == ["cosine sim., same sequence · layers.0", "gradient norm · embed"]
    assert titles[4] == "activation RMS · layers.3"


@pytest.mark.parametrize(("count", "columns"), [(2, 2), (4, 4), (5, 3), (6, 3), (7, 4), (9, 3)])
def test_one_page_has_as_many_columns_as_leave_the_fewest_cells_empty(
    count: int, columns: int
) -> None:
    (page,) = grid("all", [f"p{number}" for number in range(count)], Size(200, 44))
    assert len({region.x for _, region in page.regions(Size(200, 44))}) == columns


def test_searching_knows_names_and_titles() -> None:
    metrics = ["train/grad_norm", "train/tokens_per_s", "val/loss", "grad/layers.3"]
    assert matching(metrics, "GRAD") == ["train/grad_norm", "grad/layers.3"]
    assert matching(metrics, "tokens/s") == ["train/tokens_per_s"]
    assert matching(metrics, "loss val") == ["val/loss"]
    assert matching(metrics, "") == metrics


def test_a_shelf_keeps_order_and_forgets_what_is_taken_off() -> None:
    shelf = PinnedMetrics().pin("a").pin("b").pin("c").move("c", -2).move("x", 1)
    assert shelf.pinned == ("c", "a", "b") and shelf.pin("a").pinned == ("c", "b")
    assert shelf.move("b", 9).pinned == ("c", "a", "b")
    assert shelf.hide("a").hide("b").hide("a").hidden == {"b"}


def test_a_book_of_two_thousand_metrics_turns_round() -> None:
    book, screen = DashboardPages(PinnedMetrics()), Size(200, 50)
    metrics = [f"mine/{number}" for number in range(2000)]
    book.lay_out(metrics, screen, Size(200, 44))
    assert not book.lay_out(metrics, screen, Size(200, 44))
    shown = {book.metric_of(panel) for page in book.pages for panel in page.panels} - {None}
    assert shown == set(metrics)
    book.turn_to(-1)
    assert book.index == len(book.pages) - 1
    book.words = "mine/7"
    assert book.lay_out(metrics, screen, Size(200, 44)) and book.index < len(book.pages)


async def test_pages_of_all_metrics_follow_the_overview(run):
    async with cockpit(run, (200, 50)) as (app, pilot):
        seen = []
        for _ in range(len(app.screen.pages) - 1):
            await pilot.press("right_square_bracket")
            seen += open_metrics(app)
        assert sorted(seen) == sorted(app.screen.session.series.names())
        await pilot.press("right_square_bracket")
        assert open_metrics(app) == []
        assert app.screen.query_one(PanelGrid).page == pages_for(app.size)[0]


async def test_slash_filters_as_one_types_and_escape_shows_all_again(run):
    async with cockpit(run, (120, 30)) as (app, pilot):
        await pilot.press("slash", *"loss")
        assert set(open_metrics(app)) == {"train/loss", "train/loss_ema", "val/loss"}
        assert "3 of" in screen_text(app)
        await pilot.press("space", *"nowhere")
        assert open_metrics(app) == [] and "0 of" in screen_text(app)
        await pilot.press("escape")
        assert app.screen.query_one(PanelGrid).page == pages_for(app.size)[0]
        assert not app.screen.query_one(FilterInput).display
        await pilot.press("slash", *"val", "enter", "tab", "enter")
        assert app.screen.zoomed and len(app.screen.query_one(PanelGrid).page.panels) == 1


async def test_letters_of_a_search_make_no_widget_and_forget_no_gesture(run):
    async with cockpit(run, (120, 30)) as (app, pilot):
        screen = app.screen
        await pilot.press("slash", "l", "o")
        charts = list(screen.query(Chart))
        await pilot.press("s", "s", "enter", "tab", "y")
        toggled, metric = screen.focused.plot, open_metrics(app)[0]
        assert toggled.log and toggled.traces[0].metric == metric
        await pilot.press("slash", *["backspace"] * 4, *"lr")
        assert open_metrics(app) == ["train/lr"]
        await pilot.press(*["backspace"] * 2, *"loss")
        assert open_metrics(app)[0] == metric and list(screen.query(Chart)) == charts
        assert any(chart.plot is toggled and chart.is_on_screen for chart in charts)


async def test_focus_goes_with_a_pinned_metric_that_is_moved(run):
    async with cockpit(run, (200, 50)) as (app, pilot):
        for words in ("lr", "grad_norm"):
            await pilot.press("slash", *words, "enter", "tab", "P", "escape")
        await pilot.press("right_square_bracket", "tab")
        metrics = app.screen.focused.metrics
        await pilot.press("greater_than_sign")
        assert app.screen.focused.metrics == metrics
        await pilot.press("less_than_sign")
        assert app.screen.shelf.pinned[0] == metrics[0]


async def test_pinned_metrics_come_first_and_hidden_ones_go(run):
    async with cockpit(run, (200, 50)) as (app, pilot):
        for words in ("lr", "grad_norm"):
            await pilot.press("slash", *words, "enter", "tab", "P", "escape")
        await pilot.press("right_square_bracket")
        assert sorted(open_metrics(app)) == ["train/grad_norm", "train/lr"]
        assert shown_page(app) == "pinned"
        order = app.screen.shelf.pinned
        await pilot.press("tab", "greater_than_sign")
        assert app.screen.shelf.pinned == order[::-1]
        await pilot.press("escape", "slash", *"lr", "enter", "tab", "H", "escape")
        titles = [page.title for page in app.screen.pages]
        assert "pinned" in titles
        await pilot.press(
            *["right_square_bracket"] * (titles.index("optimizer") - titles.index(shown_page(app)))
        )
        assert "train/grad_norm" in open_metrics(app) and "train/lr" not in open_metrics(app)


async def test_what_is_pinned_is_found_again_at_the_next_start(run, tmp_path):
    file = tmp_path / "state.json"
    app = CockpitApp(Reader(run.dir.path), habits=load(file))
    async with app.run_test(size=(200, 50)) as pilot:
        await pilot.press("slash", *"lr", "enter", "tab", "P")
    keep(app.habits, file)
    assert load(file).shelf == PinnedMetrics(("train/lr",))
    again = CockpitApp(Reader(run.dir.path), habits=load(file))
    async with again.run_test(size=(200, 50)) as pilot:
        await pilot.press("right_square_bracket")
        assert open_metrics(again) == ["train/lr"]
    for broken in ('{"pinned": [1]}', '{"pinned": 1}', "[]", '{"theme": {}}'):
        file.write_text(broken)
        assert load(file) == Preferences()


async def test_two_thousand_metrics_are_no_burden(tmp_path):
    run = FakeRun(tmp_path / "wide")
    run.metrics.write({"step": 1, **{f"mine/{number}": 1.0 for number in range(2000)}})
    async with cockpit(run, (200, 50)) as (app, pilot):
        await pilot.press("N", "slash", *"1999", "enter")
        assert open_metrics(app) == ["mine/1999"]
        assert len(app.screen.query(Chart)) < 60
    run.close()


async def test_the_health_panel_says_what_is_wrong_and_what_to_do(run):
    async with cockpit(run, (200, 50)) as (app, pilot):
        panel = app.screen.query_one(HealthPanel)
        await until_read(pilot, "healthy")
        run.metrics.write({"step": 201, "train/loss": "NaN"})
        run.metrics.write({"step": 202, "train/loss": 2.0})
        app.screen.look()
        await until(pilot, lambda: panel.border_title.startswith("health · 1 active"))
        await until_read(pilot, "roll back to the last checkpoint")
