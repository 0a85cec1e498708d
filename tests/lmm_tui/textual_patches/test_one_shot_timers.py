"""A timer that ticks once does tick, whenever the system takes the processor away."""

import asyncio
import time
from collections import Counter
from types import SimpleNamespace

import pytest
import textual.timer
from looking import until
from textual.app import App, ComposeResult
from textual.widget import Widget


class OneWidget(App[None]):
    def compose(self) -> ComposeResult:
        yield Widget()


class Clock:
    """Of a process that is held up for 50 ms after the first look of each task."""

    def __init__(self) -> None:
        self._held_up_s = 0.0
        self._looks: Counter[object] = Counter()

    def __call__(self) -> float:
        task = asyncio.current_task()
        self._looks[task] += 1
        if self._looks[task] == 2:
            self._held_up_s += 0.05
        return time.monotonic() + self._held_up_s


async def test_what_is_late_before_it_begins_to_wait_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = OneWidget()
    async with app.run_test(size=(60, 10)) as pilot:
        # A resize waits for 8 ms.
        monkeypatch.setattr(textual.timer, "_time", SimpleNamespace(get_time=Clock()))
        for size in ((20, 4), (70, 20)):
            await pilot.resize_terminal(*size)
            await until(pilot, lambda: app.query_one(Widget).size == size)  # noqa: B023
