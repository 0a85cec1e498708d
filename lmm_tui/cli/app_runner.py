"""Runs the app on a borrowed terminal: opens it again after a crash, and forwards signals to it.

It knows neither the run nor how training is started.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from lmm_tui.cockpit import preferences
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.messages import Departure
from lmm_tui.i18n.language import tr
from lmm_tui.terminal import first_paint
from lmm_tui.terminal.capture import Terminal
from lmm_tui.textual_patches.install import explain, install

if TYPE_CHECKING:
    from lmm_tui.engine.run.reader import Reader

_SHORTEST_LIFE_S = 5.0
"""If the app crashes sooner than this it is not opened again."""

MakeApp = Callable[[dict[str, Any]], CockpitApp]


class AppRunner:
    """Runs the app on a borrowed terminal, opens it again after a crash, forwards signals to it."""

    def __init__(self, screen: Terminal, make_app: MakeApp, *, mouse: bool) -> None:
        self.session: Reader | None = None
        """The run that the app showed when it last ended."""
        self._screen = screen
        self._make_app = make_app
        self._mouse = mouse
        self._app: CockpitApp | None = None
        self._asked: Departure | None = None
        """What a signal asked for, which may come before there is an app to leave."""

    def run(self) -> Departure | None:
        """Returns once the screen is left; None where it crashed and would only do so again."""
        if differences := explain(install()):
            print(differences, file=sys.stderr)
        notice = ""
        while self._asked is None:
            opened = time.monotonic()
            departure = self._open(notice) or self._asked
            if departure is None and self._screen.hung_up:
                return Departure.HANGUP
            if departure is not None or time.monotonic() - opened < _SHORTEST_LIFE_S:
                return departure
            notice = tr("The screen crashed and was opened again; output.log says why.")
        return self._asked

    @contextmanager
    def signals(
        self,
        *,
        terminate: Callable[[], None] = lambda: None,
        hang_up: Callable[[], None] = lambda: None,
        interrupt: Callable[[], None] = lambda: None,
    ) -> Iterator[None]:
        """Within the block signals end the app, if it runs, and call the given functions.

        `hang_up` and `interrupt` are only called while there is no app; `terminate` always.
        Keep the block open after the app has ended too: a closed ssh sends SIGHUP twice.
        """

        def on_terminate(number: int, frame: FrameType | None) -> None:
            terminate()
            self._leave_soon(Departure.TERMINATE)

        def on_hang_up(number: int, frame: FrameType | None) -> None:
            if self._app is None:
                hang_up()
            self._leave_soon(Departure.HANGUP)

        def on_interrupt(number: int, frame: FrameType | None) -> None:
            if self._app is not None:
                self._app.interrupt()
            else:
                interrupt()

        before = {
            signal.SIGTERM: signal.signal(signal.SIGTERM, on_terminate),
            signal.SIGHUP: signal.signal(signal.SIGHUP, on_hang_up),
            signal.SIGINT: signal.signal(signal.SIGINT, on_interrupt),
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _leave_soon(self, departure: Departure) -> None:
        self._asked = departure
        if self._app is not None:
            self._app.leave_soon(departure)

    def _open(self, notice: str) -> Departure | None:
        extras = {"terminal": self._screen, "notice": notice, "habits": preferences.load()}
        self._app = self._make_app(extras)
        if self._asked is not None:
            self._app.leave_soon(self._asked)
        try:
            return self._app.run(mouse=self._mouse)
        except Exception:
            traceback.print_exc()
            return None
        finally:
            first_paint.arrived()  # Also where nothing was painted: training may go on without.
            self.session = self._app.session
            preferences.keep(self._app.habits)
            self._app = None
            # Textual's handlers draw on the screen; they must not stay once the app has ended.
            for number in (signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH):
                signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    told: list[str] = []
    with Terminal() as screen:
        runner = AppRunner(screen, lambda extras: CockpitApp(**extras), mouse=False)
        with runner.signals(hang_up=lambda: told.append("hang up")):
            os.kill(os.getpid(), signal.SIGHUP)
    print(told, runner.run())
    print("=== 自测通过 ===")
