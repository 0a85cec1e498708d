"""Textual's driver for terminals, whose threads end with the app and with the terminal.

When a terminal goes, the kernel sends SIGCONT along with SIGHUP. Textual 8.2 takes every SIGCONT
for the end of a suspension and starts its input and output threads once more: of two input threads
one is never told to end, and none is that starts while the app ends. The process cannot exit then,
and on a dead terminal, which reads as endless nothing, such a thread takes a whole core.

This uses public names of Textual only, but for the driver of an app, and is therefore not switched
off with the patches.
"""

from __future__ import annotations

import asyncio
import threading
from enum import Enum, auto
from typing import Any

from textual.app import App
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver

from lmm_tui.terminal.capabilities import hung_up


def ending_with_its_terminal(driver: type[Driver]) -> type[Driver]:
    """The class to use for `driver`; the ones for browsers and tests have no terminal."""
    return TerminalDriver if driver is LinuxDriver else driver


def write_to_terminal(app: App[Any], sequence: str) -> None:
    """Write an escape sequence that paints nothing, such as that of a notification."""
    if app._driver is not None:
        app._driver.write(sequence)


class _Phase(Enum):
    """Of application mode."""

    LEFT = auto()
    """Not entered yet, or left for good."""
    ENTERING = auto()
    ENTERED = auto()
    SUSPENDED = auto()


class _EndOfInput(threading.Event):
    """Tells an input thread to end: once set, once the terminal has gone or another one reads."""

    def __init__(self, terminal: int) -> None:
        super().__init__()
        self.reader: threading.Thread | None = None
        self._terminal = terminal
        self._owner = threading.current_thread()

    def is_set(self) -> bool:
        thread = threading.current_thread()
        if super().is_set() or thread is self._owner:
            return super().is_set()
        return thread is not self.reader or hung_up(self._terminal)


class TerminalDriver(LinuxDriver):
    """Reads a terminal in one thread, and only between the start and the end of an app."""

    def __init__(
        self,
        app: App[Any],
        *,
        debug: bool = False,
        mouse: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self.exit_event: _EndOfInput = _EndOfInput(self.fileno)
        self._phase = _Phase.LEFT
        self._app_loop = asyncio.get_running_loop()

    def start_application_mode(self) -> None:
        """Raises OSError where the terminal refuses: it went, or belongs to other processes."""
        self._phase = _Phase.ENTERING
        super().start_application_mode()
        if self._phase is _Phase.ENTERING:
            raise OSError("the terminal refuses to be used")

    def write(self, data: str) -> None:
        super().write(data)
        if self._phase is _Phase.ENTERING:
            self._phase = _Phase.ENTERED

    def stop_application_mode(self) -> None:
        self._phase = _Phase.LEFT
        super().stop_application_mode()

    def suspend_application_mode(self) -> None:
        if self._phase is _Phase.ENTERED:
            super().suspend_application_mode()
            self._phase = _Phase.SUSPENDED

    def resume_application_mode(self) -> None:
        """Called on every SIGCONT, in a signal handler."""
        # It may have been stopped while entering, because it was in the background.
        if self._phase in (_Phase.SUSPENDED, _Phase.ENTERING):
            super().resume_application_mode()
        elif self._phase is _Phase.ENTERED and not hung_up(self.fileno):
            self._app_loop.call_soon_threadsafe(self._enter_again)

    def run_input_thread(self) -> None:
        self.exit_event.reader = threading.current_thread()
        super().run_input_thread()

    def _enter_again(self) -> None:
        """After a SIGSTOP: a shell may have changed modes and contents of the terminal."""
        if self._phase is not _Phase.ENTERED:
            return
        self.suspend_application_mode()
        try:
            super().resume_application_mode()
        except OSError:
            self._app.exit()


if __name__ == "__main__":
    import os

    end = _EndOfInput(os.open(os.devnull, os.O_RDONLY))
    print(end.is_set(), ending_with_its_terminal(LinuxDriver))
    print("=== 自测通过 ===")
