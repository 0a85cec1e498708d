"""Load of this machine: processors, memory, disk, network, GPUs, and the processes that use them.

Each reading is a frozen snapshot; rates are measured since the reading before.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from lmm_tui.runs import amd_cards, apple_cards, nvidia_cards
from lmm_tui.runs.gpu_cards import Card, Reader

_BUSIEST = 12
"""Processes of the table besides those of the run and of the cards."""
_TABLE_EVERY = 2
"""Readings per table: all processes of the machine are looked at for it."""
_TABLE_FIELDS = ["pid", "ppid", "name", "username", "cpu_percent", "memory_info"]


@dataclass(frozen=True)
class ProcessReading:
    """The process of the run with its children."""

    pid: int
    command: str
    cpu: float | None
    """In processors: 1.5 means one and a half of them; None in the first reading."""
    memory: int
    threads: int
    seconds: float
    """CPU time."""
    read_rate: float | None = None
    write_rate: float | None = None
    """Bytes a second from and to disks; None where the system does not tell."""
    pids: frozenset[int] = frozenset()


@dataclass(frozen=True)
class TableEntry:
    """A process of the table; `cpu` is in processors, memory in bytes.

    `name` is its command line, where the system tells it.
    """

    pid: int
    user: str
    name: str
    cpu: float
    memory: int
    of_run: bool
    cards: tuple[tuple[int, int | None], ...] = ()
    """Numbers of the cards that it uses, with the memory that it holds there."""


@dataclass(frozen=True)
class MachineReading:
    """Processors are 0 to 1, memory and disk bytes, rates bytes a second."""

    cpu: float | None
    """None in the first reading: there is nothing yet to measure since."""
    cores: tuple[float, ...]
    load: float
    memory_used: int
    memory_total: int
    swap_used: int
    swap_total: int
    disk_used: int
    disk_total: int
    disk_free: int
    cards: tuple[Card, ...]
    process: ProcessReading | None
    received_rate: float | None = None
    sent_rate: float | None = None
    table: tuple[TableEntry, ...] = ()
    time: float = 0.0
    """Unix seconds."""

    @property
    def memory_share(self) -> float:
        return self.memory_used / self.memory_total


class _Rate:
    """How fast a counter grows, measured between two calls."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def of(self, count: float | None) -> float | None:
        now, before = time.monotonic(), self._last
        self._last = None if count is None else (now, count)
        if count is None or before is None or now <= before[0]:
            return None
        return max(count - before[1], 0.0) / (now - before[0])


class Machine:
    """Reads the machine; create and call it in one thread at a time."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        """`folder` selects the disk; `pid` is a process of this machine, or None."""
        self._folder = folder
        self._process = _process(pid)
        self._children: dict[int, psutil.Process] = {}
        self._cards = _find_reader()
        self._begun = False
        """Whether there was a reading, since which the next one measures."""
        self._rates = {name: _Rate() for name in ("received", "sent", "read", "written")}
        self._readings = 0
        self._table: tuple[TableEntry, ...] = ()

    def read(self) -> MachineReading:
        shares = tuple(share / 100 for share in psutil.cpu_percent(percpu=True))
        cores = shares if self._begun else ()
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        disk = shutil.disk_usage(_existing(self._folder))
        process = self._read_process()
        cards = self._cards() if self._cards is not None else ()
        network = _counters(psutil.net_io_counters)
        received, sent = (network.bytes_recv, network.bytes_sent) if network else (None, None)
        if self._readings % _TABLE_EVERY == 1:
            self._table = _table(cards, process)
        self._readings += 1
        self._begun = True
        return MachineReading(
            cpu=sum(cores) / len(cores) if cores else None,
            cores=cores,
            load=psutil.getloadavg()[0],
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            swap_used=swap.used,
            swap_total=swap.total,
            disk_used=disk.used,
            disk_total=disk.total,
            disk_free=disk.free,
            cards=cards,
            process=process,
            received_rate=self._rates["received"].of(received),
            sent_rate=self._rates["sent"].of(sent),
            table=self._table,
            time=time.time(),
        )

    def _read_process(self) -> ProcessReading | None:
        if self._process is None:
            return None
        try:
            with self._process.oneshot():
                command = " ".join(self._process.cmdline()) or self._process.name()
            family = [self._process, *self._family()]
            parts = [part for one in family if (part := _part(one)) is not None]
            if not parts:
                return None
        except psutil.Error:
            return None
        read = [one.read for one in parts if one.read is not None]
        written = [one.written for one in parts if one.written is not None]
        return ProcessReading(
            self._process.pid,
            command,
            sum(one.cpu for one in parts) if self._begun else None,
            sum(one.memory for one in parts),
            sum(one.threads for one in parts),
            sum(one.seconds for one in parts),
            self._rates["read"].of(sum(read) if read else None),
            self._rates["written"].of(sum(written) if written else None),
            frozenset(one.pid for one in family),
        )

    def _family(self) -> Iterable[psutil.Process]:
        """The children, kept from one reading to the next: their use is measured in between."""
        assert self._process is not None
        found = {one.pid: one for one in self._process.children(recursive=True)}
        self._children = {pid: self._children.get(pid, one) for pid, one in found.items()}
        return self._children.values()


@dataclass(frozen=True)
class _Part:
    cpu: float
    memory: int
    threads: int
    seconds: float
    read: int | None
    written: int | None


def _part(process: psutil.Process) -> _Part | None:
    """A process of the run's family; None if it has ended."""
    try:
        with process.oneshot():
            times = process.cpu_times()
            used = process.cpu_percent() / 100
            memory, threads = process.memory_info().rss, process.num_threads()
            disk = _counters(process.io_counters) if hasattr(process, "io_counters") else None
    except psutil.Error:
        return None
    read, written = (disk.read_bytes, disk.write_bytes) if disk else (None, None)
    return _Part(used, memory, threads, times.user + times.system, read, written)


def _table(cards: tuple[Card, ...], process: ProcessReading | None) -> tuple[TableEntry, ...]:
    """Processes of the run, of the cards, and the busiest others, in this order."""
    uses: dict[int, list[tuple[int, int | None]]] = {}
    for number, card in enumerate(cards):
        for one in card.processes:
            uses.setdefault(one.pid, []).append((number, one.memory))
    of_run = frozenset() if process is None else process.pids
    entries = []
    for seen in psutil.process_iter(_TABLE_FIELDS):
        facts = seen.info
        if facts["memory_info"] is None:  # Of another user, on some systems.
            continue
        entries.append(
            TableEntry(
                pid=facts["pid"],
                user=facts["username"] or "",
                name=facts["name"] or "",
                cpu=(facts["cpu_percent"] or 0.0) / 100,
                memory=facts["memory_info"].rss,
                of_run=facts["pid"] in of_run,
                cards=tuple(uses.get(facts["pid"], ())),
            )
        )
    entries.sort(key=lambda one: (not one.of_run, not one.cards, -one.cpu, -one.memory))
    needed = sum(one.of_run or bool(one.cards) for one in entries)
    return tuple(
        replace(one, name=_command(one.pid) or one.name) for one in entries[: needed + _BUSIEST]
    )


def _command(pid: int) -> str:
    """The command line without the folder of its program; empty where it is not told."""
    try:
        program, *arguments = psutil.Process(pid).cmdline()
    except (psutil.Error, OSError, ValueError):  # ValueError: a process of the system has none.
        return ""
    return " ".join((Path(program).name, *arguments))


def _counters(read: Any) -> Any:
    """What a counter of psutil says; None where the system has none or does not tell."""
    try:
        return read()
    except (psutil.Error, OSError, RuntimeError):
        return None


def _find_reader() -> Reader | None:
    """The first reader that knows a card of this machine, None without one.

    Call it in a thread: drivers take a moment to answer.
    """
    for make in (nvidia_cards.reader, amd_cards.reader, apple_cards.reader):
        if (reader := make()) is not None:
            return reader
    return None


def _process(pid: int | None) -> psutil.Process | None:
    try:
        return None if pid is None else psutil.Process(pid)
    except psutil.Error:
        return None


def _existing(folder: Path) -> Path:
    folder = folder.resolve()
    return next(path for path in (folder, *folder.parents) if path.exists())


if __name__ == "__main__":
    import os

    machine = Machine(Path("no/such/folder"), os.getpid())
    assert machine.read().cpu is None
    reading = machine.read()
    print(f"{len(reading.cores)} cores, {reading.memory_total} bytes, {len(reading.cards)} GPUs")
    print(reading.process, *reading.table[:3], sep="\n")
    assert reading.process is not None and reading.cpu is not None and 0 <= reading.cpu <= 1
    assert reading.table[0].of_run
    print("=== 自测通过 ===")
