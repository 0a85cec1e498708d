"""Room for trials on this machine: a GPU takes one at a time, processors as many threads as cores.

A trial of several ranks takes all GPUs, or divides the threads that one trial gets.

All queues of a user on a machine share one table, so that two of them start no more than one
would. An entry holds as long as its process lives: that of the trial, which outlives its queue.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.process_lives import process_lives
from lmm_tui.guarded_files import make_private, open_file, read_text, replace_text
from lmm_tui.planning.estimate import estimate
from lmm_tui.runs.gpu_cards import visible
from lmm_tui.runs.machine_stats import Machine
from lmm_tui.sweeps.axes import SweepError
from lmm_tui.user_folders import user_state

_SPARE = 0.9
"""Share of the memory that an estimate may take: it is of first order."""
_ALL_CARDS = "cuda"
"""The device of a trial whose ranks have a GPU each."""
_LOOKING = "looking for room"


@dataclass(frozen=True)
class Slot:
    """Where a trial may train: its device, and on processors how many threads it gets."""

    device: str
    threads: int | None = None
    """Of each rank."""
    cards: tuple[str, ...] = ()
    """The GPUs it holds, by what they are called in every process of the machine."""


class MachineSlots:
    """The slots of this machine, for trials whose `device` setting is the given one."""

    def __init__(self, device: str, jobs: int = 1) -> None:
        reading = Machine(Path(), None).read()
        # A process may see a part of the machine: its GPUs are numbered anew, from 0 on.
        seen = {f"cuda:{at}": card for at, card in enumerate(visible(reading.cards))}
        self._memory = {name: card.memory_total or 0 for name, card in seen.items()}
        cards = [Slot(name, None, (card.uuid or name,)) for name, card in seen.items()]
        self._processors = sorted(
            os.sched_getaffinity(0)
            if hasattr(os, "sched_getaffinity")
            else range(os.cpu_count() or 1)
        )
        self._cores = len(self._processors)
        self._memory["cpu"] = reading.memory_total
        if cards and device in ("auto", "cuda"):
            self._slots = cards
        elif device.startswith("cuda"):
            chosen = [slot for slot in cards if slot.device == device]
            self._slots = chosen or [Slot(device, None, (device,))]
        elif device == "mps":
            self._slots = [Slot("mps", None, ("mps",))]
        else:
            if jobs > self._cores:
                raise SweepError(
                    "--jobs {jobs}: this machine has {cores} processors",
                    jobs=jobs,
                    cores=self._cores,
                )
            threads = max(self._cores // jobs, 1)
            self._slots = [Slot("auto" if device == "auto" else "cpu", threads)] * jobs
        # On clusters several machines have one home.
        self._folder = user_state() / "slots" / socket.gethostname()

    def claim(self, config: RunConfig, run: str) -> Slot | None:
        """A free slot for a run, now held by this process; None where there is none now.

        Raises SweepError for a run that would never fit.
        """
        ranks = config.parallel.ranks or max(len(self._memory) - 1, 1)  # 0 stands for all cards.
        slots = self._for_ranks(ranks)
        # Of a GPU each rank has its own; processors share their memory.
        on_cpu = slots[0].threads is not None
        needed = estimate(config, on_card=not on_cpu).memory * (ranks if on_cpu else 1)
        with self._table() as table:
            for slot in dict.fromkeys(slots):
                total = self._memory.get(slot.device, self._memory["cpu"])
                if total and needed > total * _SPARE:
                    raise SweepError(
                        "it would take about {needed:.1f} GB, {device} has "
                        "{total:.1f} GB; take a smaller model or batch",
                        needed=needed / 1e9,
                        device=slot.device,
                        total=total / 1e9,
                    )
                if self._is_free(slot, ranks, needed, table):
                    table[run] = self._entry(slot, ranks, needed)
                    return slot
        return None

    def has_room(self, config: RunConfig) -> bool:
        """Whether a run could begin now; one that never fits may be tried, which says why."""
        try:
            if self.claim(config, _LOOKING) is None:
                return False
        except SweepError:
            return True
        self.release(_LOOKING)
        return True

    def hand_over(self, run: str, pid: int) -> None:
        """The slot of a run is held by another process, which trains it."""
        with self._table() as table:
            if run in table:
                table[run] |= _identity(pid)

    def release(self, run: str) -> None:
        with self._table() as table:
            table.pop(run, None)

    def _for_ranks(self, ranks: int) -> list[Slot]:
        """The slots of trials of so many ranks; SweepError where the machine never has as many."""
        if ranks == 1:
            return self._slots
        threads = self._slots[0].threads
        room = len(self._slots) if threads is None else threads
        if ranks > room:
            raise SweepError(
                "parallel.ranks {ranks}: a trial gets {room} GPUs or processors here; take fewer "
                "ranks, or fewer --jobs",
                ranks=ranks,
                room=room,
            )
        if threads is None:
            held = tuple(card for slot in self._slots for card in slot.cards)
            return [Slot(_ALL_CARDS, None, held)]
        return [Slot(slot.device, threads // ranks) for slot in self._slots]

    def _is_free(
        self, slot: Slot, ranks: int, needed: int, table: dict[str, dict[str, Any]]
    ) -> bool:
        if slot.threads is None:
            return not any({*slot.cards} & {*one["cards"]} for one in table.values())
        # Jobs of a cluster on one machine may have processors of their own.
        ours = {*self._processors}
        on_cpu = [one for one in table.values() if ours & {*one["processors"]}]
        threads = sum(one["threads"] for one in on_cpu)
        promised = sum(one["memory"] for one in on_cpu)
        free = self._memory["cpu"] * _SPARE - promised
        return threads + slot.threads * ranks <= self._cores and (needed <= free or not on_cpu)

    def _entry(self, slot: Slot, ranks: int, memory: int) -> dict[str, Any]:
        threads = (slot.threads or 0) * ranks
        entry = {"device": slot.device, "threads": threads, "memory": memory}
        processors = self._processors if threads else []
        return entry | {"cards": [*slot.cards], "processors": processors} | _identity(os.getpid())

    @contextmanager
    def _table(self) -> Iterator[dict[str, dict[str, Any]]]:
        """The entries of live processes by run; what the block changes is kept."""
        make_private(self._folder)
        handle = open_file(self._folder / "lock", os.O_RDWR | os.O_CREAT, inside=self._folder)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            file = self._folder / "slots.json"
            try:
                found = json.loads(read_text(file, self._folder))
                table = {
                    run: entry
                    for run, entry in found.items()
                    if process_lives(entry["pid"], entry["pid_started"])
                    and isinstance(entry["cards"] + entry["processors"], list)
                }
            except (OSError, ValueError, AttributeError, TypeError, KeyError):
                table = {}
            yield table
            replace_text(file, json.dumps(table), self._folder)
        finally:
            os.close(handle)


def _identity(pid: int) -> dict[str, Any]:
    try:
        return {"pid": pid, "pid_started": psutil.Process(pid).create_time()}
    except psutil.Error:
        return {"pid": pid, "pid_started": 0.0}


if __name__ == "__main__":
    import tempfile

    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp()
    slots, other = MachineSlots("cpu"), MachineSlots("cpu")
    print(slots.claim(RunConfig(), "a/one"))
    assert other.claim(RunConfig(), "a/two") is None
    slots.release("a/one")
    assert other.claim(RunConfig(), "a/two") is not None
    print("=== 自测通过 ===")
