"""Simulates a step of the form's settings in a worker process, once they are left alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.message import Message
from textual.timer import Timer

from lmm_tui.cockpit.screens.background_thread import run_in_background
from lmm_tui.engine.config.run_config import RunConfig

if TYPE_CHECKING:
    from lmm_tui.planning.simulated_memory import Simulated

AFTER_S = 1.5


@dataclass
class MemorySimulated(Message):
    """A worker process has simulated a step of `config`, or could not."""

    config: RunConfig
    found: Simulated | None
    """None keeps the first answer."""


class MemorySimulation:
    """One at a time, for the screen that the answer is posted to."""

    def __init__(self, screen: Any) -> None:
        self._screen = screen
        self._timer: Timer | None = None
        self._running = False

    def cancel(self) -> None:
        """Forget what was to be simulated."""
        if self._timer is not None:
            self._timer.stop()

    def soon(self, config: RunConfig) -> None:
        """Simulate `config` unless something else is asked for in the meantime."""
        self.cancel()
        self._timer = self._screen.set_timer(AFTER_S, lambda: self._start(config))

    def finished(self) -> None:
        """To be called with each answer."""
        self._running = False

    def _start(self, config: RunConfig) -> None:
        if self._running:
            return  # Its answer brings the screen up to date, which asks again.
        self._running = True

        def simulate() -> MemorySimulated:
            from lmm_tui.planning.simulated_memory import simulated

            return MemorySimulated(config, simulated(config))

        run_in_background(
            self._screen,
            "simulate",
            simulate,
            refused=lambda _: MemorySimulated(config, None),
        )


if __name__ == "__main__":
    from types import SimpleNamespace

    timers: list[float] = []
    timer = SimpleNamespace(stop=lambda: timers.append(0.0))
    waiting = MemorySimulation(SimpleNamespace(set_timer=lambda after, _: timer))
    waiting.soon(RunConfig())
    waiting.soon(RunConfig())
    print(timers)
    assert timers == [0.0]
    print("=== 自测通过 ===")
