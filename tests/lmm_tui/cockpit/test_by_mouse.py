"""Whatever can be opened, asked and left by keys can be so by mouse alone; only texts are typed."""

import pytest
from looking import screen_text, until, until_read
from made_runs import make_run
from textual.widgets import Input

from lmm_tui.charts.chart import Chart
from lmm_tui.charts.plot_area import GUTTER
from lmm_tui.charts.run_chart import RunChart
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.keys import SCREENS
from lmm_tui.cockpit.screens.base_screen import BaseScreen
from lmm_tui.cockpit.screens.configure import ConfigureScreen
from lmm_tui.cockpit.screens.dashboard import DashboardScreen
from lmm_tui.cockpit.screens.help import HelpScreen
from lmm_tui.engine.run.reader import Reader


@pytest.fixture
def path(tmp_path):
    other, run = (make_run(tmp_path / "runs", name, rows=200) for name in ("other", "demo"))
    other.config.write_text("seed = 1\n")
    run.config.write_text("seed = 2\n")
    return run.path


async def click(pilot, text, last=False):
    """On a text that is, or will be, on the screen: the first from the top, or the last."""
    app = pilot.app
    # What is still read in the background moves what is on the screen.
    await until(pilot, lambda: text in screen_text(app) and not getattr(app.screen, "busy", False))
    lines = screen_text(pilot.app).splitlines()
    ys = [y for y, line in enumerate(lines) if text in line]
    y = ys[-1 if last else 0]
    assert await pilot.click(offset=(lines[y].index(text) + len(text) // 2, y))
    await pilot.pause()


async def test_every_screen_is_reached_and_left(path):
    app = CockpitApp(Reader(path))
    async with app.run_test(size=(80, 24)) as pilot:
        await click(pilot, "? help", last=True)
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await click(pilot, "esc close")
        await until(pilot, lambda: isinstance(app.screen, DashboardScreen))
        await click(pilot, "? help", last=True)
        await until_read(pilot, "esc close")
        while "All runs: open" not in screen_text(app):
            app.screen.query_one("#keys").scroll_relative(y=3, animate=False)  # As the wheel does.
            await pilot.pause()
        await click(pilot, "All runs: open")
        await until(pilot, lambda: getattr(app.screen, "PLACE", "") == "runs")
        for digit, name, _ in SCREENS[2:-2]:  # Configure is no place, and there are no ranks.
            await click(pilot, f" {digit} ")
            await until(pilot, lambda name=name: getattr(app.screen, "PLACE", "") == name)
        await click(pilot, " 8 ")
        await until(pilot, lambda: isinstance(app.screen, ConfigureScreen))
        await click(pilot, "Cancel")
        await until(pilot, lambda: isinstance(app.screen, BaseScreen))
        await click(pilot, " 3 ")
        for behind in ("chat", "tokens"):
            await click(pilot, behind, last=True)
            await until(pilot, lambda behind=behind: behind == app.screen.PLACE)
            await click(pilot, "3 samp")
            await until(pilot, lambda: app.screen.PLACE == "samples")
        await click(pilot, " 1 ")
        await until(pilot, lambda: isinstance(app.screen, DashboardScreen))


async def test_a_question_is_answered_and_left(path):
    app = CockpitApp(Reader(path))
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("2")
        await click(pilot, "a note")
        await until(pilot, lambda: app.screen.query("#answer"))
        app.screen.query_one("#answer", Input).value = "warm"
        await click(pilot, "enter", last=True)
        await until_read(pilot, "warm")
        await click(pilot, "a note")
        await click(pilot, "esc", last=True)
        await until(pilot, lambda: isinstance(app.screen, BaseScreen))
        await click(pilot, "? help")
        await click(pilot, "Move the marked runs")
        await click(pilot, "Cancel")
        await until(pilot, lambda: isinstance(app.screen, BaseScreen))
        for row in ("demo", "other"):
            await click(pilot, row)
            await click(pilot, "space mark")
        await click(pilot, "D differences")
        await click(pilot, "esc back")
        await click(pilot, "C compare")
        await click(pilot, "esc back")
        await until(pilot, lambda: isinstance(app.screen, BaseScreen))


async def test_a_panel_is_zoomed_and_pages_are_turned(path):
    app = CockpitApp(Reader(path))
    async with app.run_test(size=(80, 24)) as pilot:
        first = screen_text(app)
        await click(pilot, "] next page")
        await until(pilot, lambda: screen_text(app) != first)


async def drag(pilot, chart, start, end, control=False):
    await pilot.mouse_down(chart, offset=start, control=control)
    await pilot.hover(chart, offset=end)
    await pilot.mouse_up(chart, offset=end)
    await pilot.pause()


async def test_a_chart_is_framed_moved_and_zoomed(path):
    app = CockpitApp(Reader(path))
    async with app.run_test(size=(200, 50)) as pilot:
        await until_read(pilot, "word frequencies")
        chart = app.screen.query_one("#first", Chart)
        across = chart.data_cells()[1]
        await drag(pilot, chart, (GUTTER + across // 4, 4), (GUTTER + across // 2, 6))
        start, end = chart.view.window
        assert (start, end) == pytest.approx((50, 100), abs=3)
        assert chart.cursor is None
        axis = chart.size.height - 1
        await drag(pilot, chart, (GUTTER + across // 2, axis), (GUTTER, axis))
        moved = chart.view.window
        assert moved == pytest.approx((start + (end - start) / 2, end + (end - start) / 2), abs=2)
        await drag(pilot, chart, (GUTTER + 2, 5), (GUTTER + 2 + across // 2, 5), control=True)
        assert chart.view.window == pytest.approx((start, end), abs=2)
        shown = [each.view for each in app.screen.query(RunChart).results() if each.is_on_screen]
        views = {view for view in shown if view.axis == "step"}
        assert len(views) == 1
