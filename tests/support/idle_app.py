"""Patience of a pilot: until the app has done all that it can do now, on however slow a machine.

Textual's own waits until the process has used no processor time for a moment. That is also so while
other processes keep it from running, and it sends a message to every widget first. What threads and
timers bring about later is waited for by its outcome: `looking.until`.
"""

from __future__ import annotations

import asyncio

import textual.app
import textual.pilot
from textual._context import active_app
from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen


def install() -> None:
    """For all pilots of this process."""
    textual.app.wait_for_idle = textual.pilot.wait_for_idle = _wait_for_idle
    Pilot._wait_for_screen = _wait_for_screen


async def until_idle(app: App[object]) -> None:
    """Wait until no task of the event loop can run and what has changed has been painted."""
    ready = asyncio.get_running_loop()._ready
    while True:
        await asyncio.sleep(0)
        if ready:
            continue
        screen = app._screen_stack[-1] if app._screen_stack else None
        if screen is None or not _has_changed(screen) or app._batch_count:
            return
        screen._on_timer_update()


def _has_changed(screen: Screen[object]) -> bool:
    return bool(
        screen._layout_required
        or screen._scroll_required
        or screen._repaint_required
        or screen._recompose_required
        or screen._dirty_widgets
        or screen._callbacks
    )


async def _wait_for_idle(min_sleep: float = 0, max_sleep: float = 0) -> None:
    await until_idle(active_app.get())


async def _wait_for_screen(pilot: Pilot[object], timeout: float = 0) -> bool:
    await until_idle(pilot.app)
    return True
