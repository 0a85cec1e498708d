"""What tests of screens need: what is written there, and patience until it is."""

import asyncio
import re
import time
from contextlib import asynccontextmanager

from idle_app import until_idle
from textual.command import CommandList
from textual.widgets import Input

from lmm_tui.charts.chart import Chart
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.keys import KEYS
from lmm_tui.engine.run.reader import Reader

_VIEWS = ("view.", "chart.", "focus.", "metrics.")
PRESSED = [
    row.keys[0]
    for row in KEYS
    if row.where == "charts" or (row.where == "dashboard" and row.id.startswith(_VIEWS))
]
"""A key of each view, chart, focus and metric command of the dashboard."""


@asynccontextmanager
async def cockpit(run, size=(120, 30), owned=True):
    app = CockpitApp(Reader(run.dir.path), owned=owned)
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.pause()
        yield app, pilot


def strips(app):
    """What is on the screen, line by line, with its styles."""
    return app.screen._compositor.render_strips()


def screen_text(app):
    """What is on the screen, as a person reads it."""
    return "\n".join(strip.text.rstrip() for strip in strips(app))


def steady_text(app):
    """The same without the number of the process and the name of the machine, for snapshots."""
    return re.sub(r"pid \d+ on \S+ +", "pid 1 on here  ", screen_text(app))


def toasts(app):
    return [toast.message for toast in app._notifications]


async def until(pilot, condition, timeout_s=120.0):
    """Wait for something that other threads bring about."""
    deadline, pause_s = time.monotonic() + timeout_s, 0.01
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain:\n{screen_text(pilot.app)}"
        await asyncio.sleep(pause_s)
        await until_idle(pilot.app)
        pause_s = min(1.2 * pause_s, 0.1)  # What takes seconds shall not cost them here.


async def settled(pilot):
    """Wait until what was opened has been painted to the end."""
    before = None
    while before != (before := strips(pilot.app)):
        await pilot.pause(0.05)


async def until_reserved(pilot):
    """Wait until the dashboard has made the charts for its other pages, which repaints it."""
    screen = pilot.app.screen
    await until(pilot, lambda: any(not chart.metrics for chart in screen.query(Chart)))


async def until_read(pilot, text):
    """Wait until `text` is on the screen."""
    await until(pilot, lambda: text in screen_text(pilot.app))


async def do_by_palette(pilot, words, found):
    """Search the palette for `words`, and do the first that it finds once `found` is read there."""
    await pilot.press("ctrl+p")
    await until(pilot, lambda: isinstance(pilot.app.focused, Input))
    await pilot.press(*words)

    def is_first() -> bool:
        for commands in pilot.app.screen.query(CommandList):
            if commands.highlighted is not None:
                first = commands.get_option_at_index(commands.highlighted)
                return found in f"{first.prompt}"
        return False

    await until(pilot, is_first)
    await pilot.press("enter")
