"""This machine and the process of the run: CPU, memory, disk, GPUs, with a short history of each.

It is read in a thread, and only while the screen is on top.
"""

from __future__ import annotations

import socket
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from lmm_tui.charts.sparkline import spark
from lmm_tui.cockpit.screens.base_screen import BaseScreen
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import ATTACHABLE_STATES
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.number_format import duration, size
from lmm_tui.runs.machine_stats import Card, Machine, MachineReading, ProcessReading
from lmm_tui.terminal.safe_text import clean, fit

KEPT = 300
"""Readings in a sparkline: ten minutes."""

_QUIET = "$foreground 60%"
_LABEL = 14
_WARM, _HOT = 0.75, 0.92


@dataclass
class MachineRead(Message):
    """A thread has looked at the machine."""

    reading: MachineReading


class SystemScreen(BaseScreen):
    """`run` is the open run; without one only the machine is shown."""

    PLACE = "system"

    def __init__(self, runs_dir: Path, run: RunDir | None) -> None:
        super().__init__()
        self._runs_dir = runs_dir
        self._run = run
        self._machine: Machine | None = None
        self._elsewhere = ""
        self._past: dict[str, deque[float]] = {}

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
        if self._run is None:
            return None
        try:
            info, status = self._run.read_info(), self._run.read_status()
        except LmmError:
            return None
        if info.host != socket.gethostname():
            self._elsewhere = tr(
                "{name} is on {host}, another machine", name=self._run.name, host=info.host
            )
            return None
        alive = self._run.derived_state(info, status) in ATTACHABLE_STATES
        return info.pid if alive else None

    def on_machine_read(self, message: MachineRead) -> None:
        reading = message.reading
        for name, value in _values(reading).items():
            self._past.setdefault(name, deque(maxlen=KEPT)).append(value)
        self._show(reading)

    def _show(self, reading: MachineReading) -> None:
        width = max(self.size.width - 4, 20)
        lines = [
            self._gauge("CPU", reading.cpu, tr("load {load:.1f}", load=reading.load), width),
            *_cores(reading.cores, width),
            self._gauge(
                "RAM",
                reading.memory_used / reading.memory_total,
                _of(reading.memory_used, reading.memory_total),
                width,
            ),
        ]
        if reading.swap_total:
            share = reading.swap_used / reading.swap_total
            words = _of(reading.swap_used, reading.swap_total)
            lines.append(self._gauge(tr("swap"), share, words, width))
        share = reading.disk_used / reading.disk_total
        folder = self._runs_dir.name or self._runs_dir
        free = tr("{size} free for {folder}", size=size(reading.disk_free), folder=folder)
        lines += [self._gauge(tr("disk"), share, free, width), Content()]
        lines += self._cards(reading.cards, width)
        lines += [Content(), *self._process(reading.process, width)]
        self.query_one("#gauges", Static).update(Content("\n").join(lines))
        self.query_one(ScreenTabs).show(tr("every 2 s"), subject=socket.gethostname())

    def _cards(self, cards: tuple[Card, ...], width: int) -> list[Content]:
        if not cards:
            words = tr("no GPU found (pip install nvidia-ml-py for NVIDIA)")
            return [_line("GPU", words, width)]
        lines = []
        for index, card in enumerate(cards):
            heat = "" if card.celsius is None else f"{card.celsius:.0f} °C"
            power = "" if card.watts is None else f"{card.watts:.0f} W"
            words = " · ".join(filter(None, (card.name, heat, power)))
            lines.append(self._gauge(f"GPU {index}", card.busy, words, width))
            words = _of(card.memory_used, card.memory_total)
            if card.by_process is not None:
                words += tr(", the run {size}", size=size(card.by_process))
            share = card.memory_used / max(card.memory_total, 1)
            lines.append(self._gauge(tr("GPU {index} memory", index=index), share, words, width))
        return lines

    def _process(self, process: ProcessReading | None, width: int) -> list[Content]:
        if process is None:
            name = self._run.name if self._run else ""
            gone = tr("{name} has no process here any more", name=name)
            gone = gone if name else tr("no run is open")
            return [_line(tr("process"), self._elsewhere or gone, width)]
        words = tr(
            "pid {pid} · {cpu} processors · {memory} · {threads} threads · {time} of work",
            pid=process.pid,
            cpu="–" if process.cpu is None else f"{process.cpu:.2f}",
            memory=size(process.memory),
            threads=process.threads,
            time=duration(process.seconds),
        )
        past = spark(np.array(self._past.get("process", ())), max(min(width - _LABEL, 60), 1))
        return [
            _line(tr("process"), words, width),
            _line("", process.command, width),
            Content.styled(" " * _LABEL + past, "$accent"),
        ]

    def _gauge(self, label: str, share: float | None, details: str, width: int) -> Content:
        """A bar, a percentage, details and a sparkline, as far as there is room.

        A dash in place of the percentage where it is not known yet.
        """
        percent = "   –" if share is None else f"{share:4.0%}"
        share = share or 0.0
        bar = max(min((width - _LABEL) // 3, 40), 8)
        filled = round(min(max(share, 0.0), 1.0) * bar)
        colour = "$error" if share >= _HOT else "$warning" if share >= _WARM else "$success"
        past = self._past.get(label, ())
        line = Content.assemble(
            (fit(label, _LABEL), _QUIET),
            ("━" * filled, colour),
            ("─" * (bar - filled), "$panel"),
            f" {percent}  ",
            (clean(details), ""),
        )
        left = width - line.cell_length - 2
        if past and left >= 8:
            line = line + Content.styled(
                "  " + spark(np.array(past), min(left, 60), (0, 1)), "$accent"
            )
        return line.truncate(width, ellipsis=True)


def _values(reading: MachineReading) -> dict[str, float]:
    """The values that have a sparkline, by the label of their gauge."""
    curves = {"RAM": reading.memory_used / reading.memory_total}
    if reading.cpu is not None:
        curves["CPU"] = reading.cpu
    for index, card in enumerate(reading.cards):
        curves[f"GPU {index}"] = card.busy
    if reading.process is not None and reading.process.cpu is not None:
        curves["process"] = reading.process.cpu
    return curves


def _cores(cores: tuple[float, ...], width: int) -> list[Content]:
    """A block per core, as high as it is busy."""
    if not cores:
        return []
    blocks = "▁▂▃▄▅▆▇█"
    shown = "".join(blocks[min(int(share * len(blocks)), len(blocks) - 1)] for share in cores)
    return [_line(tr("{count} cores", count=len(cores)), shown, width)]


def _of(used: int, total: int) -> str:
    return tr("{used} of {total}", used=size(used), total=size(total))


def _line(label: str, details: str, width: int) -> Content:
    line = Content.assemble((fit(label, _LABEL), _QUIET), clean(details))
    return line.truncate(width, ellipsis=True)


if __name__ == "__main__":
    print(*_cores((0.1, 0.5, 1.0), 60))
    print(SystemScreen(Path(), None)._gauge("CPU", 0.8, "load 1.2", 60))
    print("=== 自测通过 ===")
