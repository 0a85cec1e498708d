"""Narrow updates paint exactly what a whole repaint would, and send little of it."""

import pytest
from fake_run import FakeRun
from looking import settled
from rich.console import Console
from textual.geometry import Region

from lmm_tui.app import CockpitApp
from lmm_tui.narrow import NarrowCompositor, NarrowUpdate
from lmm_tui.session import RunSession


class Screen:
    """What a terminal would show after the updates it was sent."""

    def __init__(self, app):
        self._app = app
        self.rows = self._whole()
        self.narrow = 0
        self.sent = 0

    def _whole(self):
        return [self._cells(strip) for strip in self._app.screen._compositor.render_strips()]

    def show(self, update):
        if isinstance(update, NarrowUpdate):
            self.narrow += 1
            self.sent += len(update.render_segments(Console()).encode())
            for x, y, strip in update.pieces:
                cells = self._cells(strip)
                self.rows[y][x : x + len(cells)] = cells
        else:
            self.rows = self._whole()

    def _cells(self, strip):
        """A text and style for every cell; the second half of a wide character is empty."""
        cells = []
        for segment in strip:
            for char in segment.text:
                wide = len(char.encode()) == 3 and char >= "\u2e80"
                cells += [(char, str(segment.style))] + [("", "")] * wide
        return cells


@pytest.fixture
def run(tmp_path):
    made = FakeRun(tmp_path / "first-words")
    made.train(1, 100)
    yield made
    made.close()


@pytest.mark.parametrize("size", [(200, 50), (80, 24)])
async def test_a_run_painted_in_parts_looks_as_if_painted_at_once(run, size, monkeypatch):
    app = CockpitApp(RunSession(run.dir.path))
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
            app.screen._show()
            await pilot.pause()
        for key in ("n", "tab", "enter", "escape"):
            await pilot.press(key)
            await pilot.pause()
        run.train(331, 340)
        app.screen._show()
        await pilot.pause()
        assert seen.narrow > 20
        assert seen.rows == seen._whole()


async def test_a_new_step_costs_few_bytes(run, monkeypatch):
    app = CockpitApp(RunSession(run.dir.path))
    run.train(101, 605)
    async with app.run_test(size=(200, 50)) as pilot:
        await settled(pilot)
        seen = Screen(app)
        monkeypatch.setattr(app, "_display", lambda screen, update: seen.show(update))
        run.train(606, 606)
        app.screen.look()
        app.screen._show()
        await pilot.pause()
        assert 0 < seen.sent < 5000


async def test_where_widgets_overlap_textual_paints(run):
    app = CockpitApp(RunSession(run.dir.path))
    async with app.run_test(size=(200, 50)) as pilot:
        await pilot.pause()
        compositor = app.screen._compositor
        assert isinstance(compositor, NarrowCompositor)
        compositor._dirty_regions = {Region(0, 0, 200, 50)}
        assert not isinstance(compositor.render_partial_update(), NarrowUpdate)
        assert not compositor._dirty_regions
