"""This machine with its GPUs and processes, and what a run elsewhere reports of its own machine.

It is read in a thread, and only while the screen is on top.
"""

from __future__ import annotations

import socket
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from lmm_tui.cockpit.screens.base_screen import BaseScreen
from lmm_tui.cockpit.widgets.history_graph import QUIET
from lmm_tui.cockpit.widgets.machine_view import Room, lines_of, reported_lines, values_of
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs
from lmm_tui.engine.run.reader import Reader
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.metric_titles import title_of
from lmm_tui.i18n.number_format import figure
from lmm_tui.metrics import names
from lmm_tui.runs.machine_stats import Machine, MachineReading
from lmm_tui.terminal.safe_text import clean

KEPT = 600
"""Readings: twenty minutes."""
_WITH_FACTS = 70
"""Cells; on a shorter line the names of all screens are worth more than these."""
_READ_AT_ONCE_S = 0.02
_REPORTED_PAST = 200
"""Rows of a run in the past of what it reports."""


@dataclass
class MachineRead(Message):
    """A thread has looked at the machine."""

    reading: MachineReading


class SystemScreen(BaseScreen):
    """`session` is the open run; without one only the machine is shown."""

    PLACE = "system"

    def __init__(self, runs_dir: Path, session: Reader | None) -> None:
        super().__init__()
        self._runs_dir = runs_dir
        self._session = session
        self._machine: Machine | None = None
        self._note = ""
        self._last: MachineReading | None = None
        self._past: dict[str, deque[float | None]] = {}

    def compose_body(self) -> ComposeResult:
        with VerticalScroll(id="machine"):
            yield Static(tr("Reading …"), id="gauges")

    def look(self) -> None:
        self.in_background("machine", self._read)

    def _read(self) -> MachineRead:
        if self._machine is None:
            self._machine = Machine(self._runs_dir, self._pid())
        return MachineRead(self._machine.read())

    def _pid(self) -> int | None:
        """Of the process of the run, if it is on this machine and alive."""
        if self._session is None:
            self._note = tr("no run is open")
            return None
        run = self._session.run_dir
        try:
            view = Reader(run.path).view
        except LmmError:
            return None
        info = view.info
        if info.host != socket.gethostname():
            self._note = tr("{name} is on {host}, another machine", name=run.name, host=info.host)
            return None
        if view.active:
            return info.pid
        self._note = tr("{name} has no process here any more", name=run.name)
        return None

    def on_machine_read(self, message: MachineRead) -> None:
        reading = self._last = message.reading
        values = values_of(reading)
        for name in {*values, *self._past}:
            self._past.setdefault(name, deque(maxlen=KEPT)).append(values.get(name))
        self._show(reading)

    def on_resize(self) -> None:
        if self._last is not None:
            self._show(self._last)

    def _show(self, reading: MachineReading) -> None:
        body = self.query_one("#machine").size
        room = Room(max(body.width - 4, 20), max(body.height, 6), self.LOOK_EVERY_S)
        past = {name: list(values) for name, values in self._past.items()}
        lines = lines_of(reading, past, room, reported=self._reported(room.width))
        self.query_one("#gauges", Static).update(Content("\n").join(lines))
        every = tr("every {seconds:.0f} s", seconds=self.LOOK_EVERY_S)
        if body.width >= _WITH_FACTS:
            self.query_one(ScreenTabs).show(every, subject=socket.gethostname())
        else:
            self.query_one(ScreenTabs).show()

    def _reported(self, width: int) -> list[Content]:
        """Of a run that has no process here: where it is, and the metrics of its machine."""
        if not self._note:
            return []
        lines = [Content.styled(clean(self._note), QUIET)]
        if self._session is None:
            return lines
        self._session.poll(_READ_AT_ONCE_S)
        values = []
        for name in self._session.series.names():
            series = self._session.series.get(name)
            if name.startswith(names.SYSTEM) and series is not None and len(series):
                last = series.last_value
                shown = "" if last is None else figure(last)
                seen = [float(value) for value in series.values[-_REPORTED_PAST:]]
                values.append((title_of(name), shown, seen))
        if values:
            lines.append(Content.styled(tr("as the run reported:"), QUIET))
        return [*lines, *reported_lines(values, width)]


if __name__ == "__main__":
    screen = SystemScreen(Path(), None)
    print(screen._pid(), screen._note)
    print("=== 自测通过 ===")
