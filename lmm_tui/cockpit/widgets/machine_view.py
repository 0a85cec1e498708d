"""The lines of the system screen: graphs of the machine and of each GPU, and the processes.

Pure layout: a reading and past values go in, lines come out. Two graphs stand side by side where
there is room; many GPUs get a line or two each instead of graphs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from textual.content import Content

from lmm_tui.charts.sparkline import spark
from lmm_tui.cockpit.widgets.card_table import card_table, numbers
from lmm_tui.cockpit.widgets.history_graph import QUIET, graph, heat, load, time_axis, titled
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.number_format import NOTHING, duration, size
from lmm_tui.runs.gpu_cards import Card
from lmm_tui.runs.machine_stats import MachineReading, TableEntry
from lmm_tui.terminal.safe_text import clean, fit, right

Past = Mapping[str, Sequence[float | None]]
"""Earlier values by name, the newest last."""

_GAP = 3
_TWO_COLUMNS = 100
_LEAST_GRAPH, _MOST_GRAPH = 2, 7
_MB = 1e6
_CORES_IN_TITLE = 16
_LABEL = 14
_SENSOR = 6
"""Cells of the past of a sensor."""


@dataclass(frozen=True)
class Room:
    """The size of the view, and how much time a cell of a graph is."""

    width: int
    height: int
    seconds_a_cell: float

    @property
    def columns(self) -> int:
        return 2 if self.width >= _TWO_COLUMNS else 1

    @property
    def column(self) -> int:
        return (self.width - _GAP * (self.columns - 1)) // self.columns


def values_of(reading: MachineReading) -> dict[str, float | None]:
    """The values whose past is shown, by name."""
    process = reading.process
    values: dict[str, float | None] = {
        "cpu": reading.cpu,
        "memory": reading.memory_share,
        "received": reading.received_rate,
        "sent": reading.sent_rate,
        "read": process.read_rate if process else None,
        "written": process.write_rate if process else None,
        "process": process.cpu if process else None,
    }
    for index, card in enumerate(reading.cards):
        values |= {
            f"gpu{index}": card.busy,
            f"gpu{index} memory": card.memory_share,
            f"gpu{index} celsius": card.celsius,
            f"gpu{index} watts": card.watts,
            f"gpu{index} clock": card.clock,
        }
    return values


def lines_of(
    reading: MachineReading, past: Past, room: Room, *, reported: Sequence[Content] = ()
) -> list[Content]:
    """All lines, GPUs first; `reported` are those about a run of another machine."""
    panels, lines, high = [], [], _graph_height(reading, room)
    if len(reading.cards) * 2 * (high + 3) > room.height * room.columns:
        pids = reading.process.pids if reading.process else frozenset()
        lines += [*card_table(reading.cards, past, pids, room.width), Content()]
    else:
        for index, card in enumerate(reading.cards):
            panels += _card_panels(index, card, past, room, high, reading)
    panels += [_cpu(reading, past, room, high), _memory(reading, past, room, high)]
    lines += [*_rows(panels, room), *_axis(room), Content(), *_cores(reading, room)]
    if not reading.cards:
        lines.append(_line("GPU", tr("no GPU found"), room.width))
    lines += _transfers(reading, past, room)
    return [*lines, *reported, Content(), *_table(reading.table, room)]


def _graph_height(reading: MachineReading, room: Room) -> int:
    """High graphs on a high screen, with room for ten processes below them."""
    panels = 2 + 2 * min(len(reading.cards), 2)
    rows = -(-panels // room.columns)
    return min(max((room.height - 20) // rows - 2, _LEAST_GRAPH), _MOST_GRAPH)


def _rows(panels: Sequence[list[Content]], room: Room) -> list[Content]:
    """Panels in one or two columns."""
    if room.columns == 1:
        return [line for panel in panels for line in panel]
    lines = []
    for at in range(0, len(panels), 2):
        left, *others = panels[at : at + 2]
        other = others[0] if others else []
        for row in range(max(len(left), len(other))):
            first = left[row] if row < len(left) else Content(" " * room.column)
            second = other[row] if row < len(other) else Content()
            lines.append(Content.assemble(first, " " * _GAP, second))
    return lines


def _axis(room: Room) -> list[Content]:
    axis = time_axis(room.column, room.seconds_a_cell)
    return [Content.assemble(axis, " " * _GAP, axis) if room.columns == 2 else axis]


def _cpu(reading: MachineReading, past: Past, room: Room, high: int) -> list[Content]:
    cores = "".join(_bar(share) for share in reading.cores)
    details = tr("load {load:.1f}", load=reading.load)
    if reading.cores:
        details += f" · {tr('{count} cores', count=len(reading.cores))}"
        details += "" if len(reading.cores) > _CORES_IN_TITLE else f" {cores}"
    title = titled("CPU", _percent(reading.cpu), details, room.column, load(reading.cpu))
    return [title, *graph(past.get("cpu", ()), 1.0, room.column, high)]


def _cores(reading: MachineReading, room: Room) -> list[Content]:
    """Lines with a block per core, where they are too many for the title."""
    if len(reading.cores) <= _CORES_IN_TITLE:
        return []
    shown = "".join(map(_bar, reading.cores))
    step = max(room.width - _LABEL, 1)
    rows = [shown[at : at + step] for at in range(0, len(shown), step)]
    return [
        Content.assemble((fit("" if number else tr("cores"), _LABEL), QUIET), (row, "$accent"))
        for number, row in enumerate(rows)
    ]


def _memory(reading: MachineReading, past: Past, room: Room, high: int) -> list[Content]:
    share, details = reading.memory_share, _of(reading.memory_used, reading.memory_total)
    if reading.swap_total and reading.swap_used:
        details += f" · {tr('swap')} {_of(reading.swap_used, reading.swap_total)}"
    title = titled("RAM", _percent(share), details, room.column, heat(share))
    return [title, *graph(past.get("memory", ()), 1.0, room.column, high)]


def _card_panels(
    index: int, card: Card, past: Past, room: Room, high: int, reading: MachineReading
) -> list[list[Content]]:
    """Utilisation with name and sensors, memory with what the run holds of it."""
    width = room.column
    busy = [
        titled(f"GPU {index}", _percent(card.busy), card.name, width, load(card.busy)),
        *graph(past.get(f"gpu{index}", ()), 1.0, width, high),
        _padded(_sensors(card, index, past), width),
    ]
    details, share = _card_memory(card, reading), card.memory_share
    title = tr("GPU {index} memory", index=index)
    memory = [
        titled(title, _percent(share), details, width, heat(share)),
        *graph(past.get(f"gpu{index} memory", ()), 1.0, width, high),
        _padded(_held_down(card), width),
    ]
    return [busy, memory]


def _sensors(card: Card, index: int, past: Past) -> Content:
    """Temperature, power and clock, each with a few past values, as far as they are told."""
    told = (
        ("celsius", card.celsius, "{:.0f} °C", 110.0),
        ("watts", card.watts, "{:.0f} W", card.watts_limit),
        ("clock", card.clock, "{:,.0f} MHz", card.clock_max),
    )
    parts: list[Content | str] = []
    for name, value, shape, top in told:
        if value is None:
            continue
        text = shape.format(value)
        if top and name != "celsius":
            text = f"{text.split()[0]}/{shape.format(top)}"
        parts.append(Content(text))
        seen = np.array([_number(one) for one in past.get(f"gpu{index} {name}", ())])
        earlier = spark(seen[-_SENSOR:], _SENSOR, (0, top or value))
        parts.append(Content.styled(f" {earlier}", "$accent"))
        parts.append("  ")
    if card.fan is not None:
        parts.append(Content(tr("fan {share}", share=_percent(card.fan))))
    return Content.assemble(*parts)


def _held_down(card: Card) -> Content:
    """Why the clock is held down."""
    if not card.throttle:
        return Content()
    reasons = ", ".join(tr(reason) for reason in card.throttle)
    return Content.styled(tr("throttled: {reasons}", reasons=reasons), "$warning")


def _card_memory(card: Card, reading: MachineReading) -> str:
    if card.memory_used is None or card.memory_total is None:
        return ""
    text = _of(card.memory_used, card.memory_total)
    held = None if reading.process is None else card.memory_of(reading.process.pids)
    return text if held is None else text + tr(", the run {size}", size=size(held))


def _transfers(reading: MachineReading, past: Past, room: Room) -> list[Content]:
    """Disk and network, and the run's process."""
    share = reading.disk_used / reading.disk_total
    disk = f"{_percent(share)}  {tr('{size} free', size=size(reading.disk_free))}"
    process = reading.process
    if process is not None and process.read_rate is not None:
        disk += "  " + tr(
            "the run reads {read}/s, writes {written}/s",
            read=size(process.read_rate),
            written=size(process.write_rate or 0.0),
        )
    network = tr(
        "received {received}/s, sent {sent}/s",
        received=_rate(reading.received_rate),
        sent=_rate(reading.sent_rate),
    )
    width = max(min(room.width // 4, 40), 8)
    lines = [
        _line(tr("disk"), disk, room.width, _spark(past.get("written", ()), width)),
        _line(tr("network"), network, room.width, _spark(past.get("received", ()), width)),
    ]
    if process is not None:
        words = tr(
            "pid {pid} · {cpu} CPU · {memory} · {threads} threads · CPU time {time}",
            pid=process.pid,
            cpu=NOTHING if process.cpu is None else f"{process.cpu:.0%}",
            memory=size(process.memory),
            threads=process.threads,
            time=duration(process.seconds),
        )
        lines.append(_line(tr("run"), words, room.width, _spark(past.get("process", ()), width)))
        lines.append(_line("", process.command, room.width))
    return lines


_COLUMNS = (
    ("pid", 8),
    (mark("user"), 10),
    ("GPU", 7),
    (mark("GPU memory"), 12),
    ("CPU", 7),
    ("RAM", 9),
)
_OF_A_CPU = tuple(column for column in _COLUMNS if not column[0].startswith("GPU"))


def _table(entries: Sequence[TableEntry], room: Room) -> list[Content]:
    """Who uses the machine; the processes of the run are marked."""
    if not entries:
        return []
    columns = _COLUMNS if any(one.cards for one in entries) else _OF_A_CPU
    head = "  " + "".join(right(tr(name), width) for name, width in columns)
    lines = [Content.styled(f"{head}  {tr('command')}", QUIET)]
    for one in entries:
        held = [memory for _, memory in one.cards if memory is not None]
        cells = {
            "pid": str(one.pid),
            "user": fit(clean(one.user), 8).rstrip(),
            "GPU": numbers([number for number, _ in one.cards]),
            "GPU memory": size(sum(held)) if held else "",
            "CPU": f"{one.cpu:.0%}",
            "RAM": size(one.memory),
        }
        shown = "".join(right(cells[name], width) for name, width in columns)
        sign = ("● ", "$accent") if one.of_run else ("  ", "")
        style = "bold" if one.of_run else ""
        lines.append(Content.assemble(sign, (f"{shown}  {clean(one.name)}", style)))
    return [line.truncate(room.width, ellipsis=True) for line in lines]


def reported_lines(values: Sequence[tuple[str, str, Sequence[float]]], width: int) -> list[Content]:
    """What a run reports of its machine: label, value and past of each metric."""
    past = max(min(width // 3, 60), 8)
    return [
        _line(label, value, width, spark(np.array(seen, float), past))
        for label, value, seen in values
    ]


def _line(label: str, details: str, width: int, past: str = "") -> Content:
    line = Content.assemble((fit(label, _LABEL), QUIET), clean(details))
    room = width - len(past) - 2
    if past and line.cell_length <= room:
        gap = " " * (room - line.cell_length)
        line = Content.assemble(line, gap, "  ", (past, "$accent"))
    return line.truncate(width, ellipsis=True)


def _padded(line: Content, width: int) -> Content:
    line = line.truncate(width, ellipsis=True)
    return Content.assemble(line, " " * (width - line.cell_length))


def _spark(values: Sequence[float | None], width: int) -> str:
    """Rates on a scale that begins at 0; a trickle does not look like a flood."""
    seen = np.array([_number(value) for value in values][-width:])
    most = max([_MB, *seen[np.isfinite(seen)]])
    return spark(seen, width, (0.0, float(most))).rjust(width) if len(seen) else ""


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _rate(value: float | None) -> str:
    return NOTHING if value is None else size(value)


def _bar(share: float) -> str:
    """A core as a block."""
    return "▁▂▃▄▅▆▇█"[min(int(share * 8), 7)]


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{share:.0%}"


def _of(used: int, total: int) -> str:
    return tr("{used} of {total}", used=size(used), total=size(total))


if __name__ == "__main__":
    card = Card("demo GPU", 0.93, 38_000_000_000, 80_000_000_000, 61, 480, 700, 1700, 1980)
    now = MachineReading(
        0.4, (0.2, 0.6), 1.2, 4, 16, 0, 0, 1, 10, 9, (card,), None, received_rate=1e5, sent_rate=0
    )
    earlier = {name: [value] * 20 for name, value in values_of(now).items()}
    for line in lines_of(now, earlier, Room(120, 40, 2.0)):
        print(line.plain)
        assert line.cell_length <= 120
    print("=== 自测通过 ===")
