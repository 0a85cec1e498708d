"""Partial updates paint exactly what a whole repaint would, and send little of it."""

import pytest
from fake_run import FakeRun
from looking import screen_text, settled, until, until_read, until_reserved
from rich.console import Console
from rich.segment import Segment
from textual.app import App
from textual.containers import Vertical
from textual.geometry import Region
from textual.renderables.background_screen import BackgroundScreen
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widgets import Static

from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.widgets.key_list import KeyList
from lmm_tui.engine.run.reader import Reader
from lmm_tui.textual_patches.backdrop import Backdrop
from lmm_tui.textual_patches.partial_repaint import (
    LinesUpdate,
    PartialCompositor,
    PartialUpdate,
    TrackedUpdate,
)


class Screen:
    """What a terminal would show after the updates it was sent."""

    def __init__(self, app):
        self._app = app
        self.rows = self._whole()
        self.partial = 0
        self.sent = 0
        self.cells = 0

    def _whole(self):
        return [self._cells(strip) for strip in self._app.screen._compositor.render_strips()]

    def show(self, update):
        if update is None:
            return
        self.partial += isinstance(update, PartialUpdate)
        width, height = self._app.size
        of_dashboard = isinstance(update, TrackedUpdate)
        if not of_dashboard or (width, height) != (len(self.rows[0]), len(self.rows)):
            self.rows = [[("?", "")] * width for _ in range(height)]
        for x, y, strip in update.take() if of_dashboard else ():
            self.sent += len(strip.render(Console()).encode())
            self.cells += strip.cell_length
            cells = self._cells(strip)
            self.rows[y][x : x + len(cells)] = cells

    def _cells(self, strip):
        """A text and style for every cell; the second half of a wide character is empty."""
        cells = []
        for segment in strip:
            for char in segment.text:
                wide = len(char.encode()) == 3 and char >= "\u2e80"
                cells += [(char, str(segment.style))] + [("", "")] * wide
        return cells


def watched(app, monkeypatch):
    """The screen of a terminal that is sent whatever the app paints from now on."""
    seen = Screen(app)
    monkeypatch.setattr(app, "_display", lambda screen, update: seen.show(update))
    return seen


@pytest.fixture
def run(tmp_path):
    made = FakeRun(tmp_path / "first-words")
    made.train(1, 100)
    yield made
    made.close()


@pytest.mark.parametrize("size", [(200, 50), (80, 24)])
async def test_a_run_painted_in_parts_looks_as_if_painted_at_once(run, size, monkeypatch):
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        seen = Screen(app)
        display = app._display
        monkeypatch.setattr(
            app, "_display", lambda screen, update: (seen.show(update), display(screen, update))
        )
        for step in range(101, 330, 7):
            run.train(step, step + 6)
            app.screen.look()
            app.screen.show()
            await pilot.pause()
        for key in ("n", "tab", "enter", "escape"):
            await pilot.press(key)
            await pilot.pause()
        run.train(331, 340)
        app.screen.show()
        await pilot.pause()
        assert seen.partial > 20
        assert seen.rows == seen._whole()
        for key in ("question_mark", "escape", "2", "1"):
            await pilot.press(key)
            await pilot.pause()
        assert seen.rows == seen._whole()


async def test_a_new_size_is_painted_once(run, monkeypatch):
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=(200, 50)) as pilot:
        await settled(pilot)
        seen = watched(app, monkeypatch)
        for size in ((80, 24), (60, 15), (200, 50)):
            seen.sent = 0
            await pilot.resize_terminal(*size)
            await settled(pilot)
            assert seen.rows == seen._whole()
            whole = sum(
                len(strip.render(Console()).encode())
                for strip in app.screen._compositor.render_strips()
            )
            assert seen.sent < 1.5 * whole


async def test_a_new_step_costs_few_bytes(run, monkeypatch):
    app = CockpitApp(Reader(run.dir.path))
    run.train(101, 605)
    async with app.run_test(size=(200, 50)) as pilot:
        # Charts in reserve are mounted later, which lays the screen out once more.
        await until_reserved(pilot)
        await settled(pilot)
        seen = watched(app, monkeypatch)
        run.train(606, 606)
        app.screen.look()
        app.screen.show()
        await pilot.pause()
        assert 0 < seen.sent < 5000


async def test_the_focus_and_a_dialog_cost_what_they_change(run, monkeypatch):
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=(200, 50)) as pilot:
        await settled(pilot)
        seen = watched(app, monkeypatch)
        app.screen.refresh()
        await settled(pilot)
        app.screen.on_screen_suspend()  # It polls no more by itself.
        run.train(101, 120)
        app.screen.show()
        await settled(pilot)
        seen.cells = 0
        app.screen.refresh()
        await settled(pilot)
        assert seen.cells == 0
        await pilot.press("tab")
        await settled(pilot)
        assert 0 < seen.cells < 0.3 * 200 * 50
        seen.cells = 0
        await pilot.press("question_mark")
        await until(pilot, lambda: app.screen.query(KeyList))
        keys = app.screen.query_one(KeyList)
        await until(pilot, lambda: keys.show_vertical_scrollbar)
        await pilot.pause()
        assert 0 < seen.cells < 1.1 * 200 * 50


async def test_behind_a_dialog_is_the_shade_that_textual_gives(run):
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        below = app.screen
        await pilot.press("question_mark")
        await settled(pilot)
        color = app.screen.styles.background
        ours = Backdrop(below, color).render_strips(80, 24, None, None)
        segments = app.console.render(BackgroundScreen(below, color), app.console.options)
        theirs = [Strip(line) for line in Segment.split_lines(segments)]
        assert color.a < 1 and len(ours) == 24
        assert [strip.simplify() for strip in ours] == [
            strip.simplify() for strip in theirs if strip.cell_length
        ]


async def test_where_widgets_overlap_whole_lines_are_painted(run):
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=(200, 50)) as pilot:
        await pilot.pause()
        compositor = app.screen._compositor
        assert isinstance(compositor, PartialCompositor)
        compositor._dirty_regions = {Region(0, 0, 200, 50)}
        update = compositor.render_partial_update()
        assert isinstance(update, LinesUpdate) and len(update.lines) == 50
        assert not compositor._dirty_regions


class Distance(Static):
    """A widget that asks, while it is rendered, for the place of one that is not displayed."""

    def render(self):
        return str(self.app.query_one("#far").region.y)


class Distances(App):
    CSS = "#far { display: none }"

    def compose(self):
        with Vertical():
            yield from (Distance() for _ in range(3))
        yield Static(id="far")


async def test_what_is_rendered_may_have_the_screen_laid_out_anew(monkeypatch):
    monkeypatch.setattr("textual.screen.Compositor", PartialCompositor)
    app = Distances()
    async with app.run_test(size=(40, 12)) as pilot:
        await settled(pilot)
        compositor, distances = app.screen._compositor, set(app.query(Distance))
        compositor.reflow_visible(app.screen, app.size)  # As scrolling does: the rest comes later.
        compositor._dirty_regions.clear()
        app.query_one(Vertical).display = False
        for widget in distances:
            widget.refresh()
        compositor.update_widgets(distances)
        update = compositor.render_partial_update()
        assert isinstance(update, PartialUpdate) and len(update.pieces) == 3
        assert not compositor.visible_widgets.keys() & distances


@pytest.mark.parametrize("size", [(200, 50), (80, 24)])
async def test_what_lies_over_other_widgets_is_painted_over_them(run, size, monkeypatch):
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=size, notifications=True) as pilot:
        await settled(pilot)
        seen = watched(app, monkeypatch)
        app.screen.toast("检查点写好了 checkpoint written", "checkpoint")
        await until_read(pilot, "检查点写好了")
        await settled(pilot)
        assert seen.rows == seen._whole()
        app.clear_notifications()
        await until(pilot, lambda: "检查点写好了" not in screen_text(app))
        await settled(pilot)
        assert seen.rows == seen._whole()


async def test_what_changes_in_a_batch_is_rendered_once_and_after_it():
    """Textual renders a screen that opens within one, drops that, and renders it all again."""
    rendered = []

    class Counted(Static):
        def render_lines(self, crop):
            rendered.append(app.batched)
            return super().render_lines(crop)

    class Opened(ModalScreen[None]):
        def compose(self):
            yield Counted("opened in a batch")

    class Batched(App[None]):
        batched = False

    app = Batched()
    async with app.run_test() as pilot:
        with app.batch_update():
            app.batched = True
            app.push_screen(Opened())
            for _ in range(5):
                await pilot.pause()
            app.batched = False
        await until(pilot, lambda: rendered)
        assert not any(rendered) and "opened in a batch" in screen_text(app)
