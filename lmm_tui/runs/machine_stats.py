"""How the machine is at this moment: processors, memory, disk, graphics cards, one process.

Each reading is a frozen snapshot. NVIDIA cards are seen where `pynvml` (nvidia-ml-py) can be
imported; nothing here is needed for anything but looking.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil


@dataclass(frozen=True)
class Card:
    """One GPU; shares are 0 to 1, memory bytes, None is "not known"."""

    name: str
    busy: float
    memory_used: int
    memory_total: int
    celsius: float | None = None
    watts: float | None = None
    by_process: int | None = None
    """Memory that the process of the run holds there."""


@dataclass(frozen=True)
class ProcessReading:
    pid: int
    command: str
    cpu: float
    """In processors: 1.5 is one and a half."""
    memory: int
    threads: int
    seconds: float


@dataclass(frozen=True)
class MachineReading:
    """Shares are 0 to 1, amounts bytes."""

    cpu: float
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


class Machine:
    """Reads as often as `read` is called; shares are of the time since the call before."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        """`folder` lies on the disk that is looked at; `pid` is a process of this machine."""
        self._folder = folder
        self._process = _process(pid)
        self._nvml = _load_nvml()
        psutil.cpu_percent(percpu=True)

    def read(self) -> MachineReading:
        cores = tuple(share / 100 for share in psutil.cpu_percent(percpu=True))
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        disk = shutil.disk_usage(_existing(self._folder))
        return MachineReading(
            cpu=sum(cores) / max(len(cores), 1),
            cores=cores,
            load=psutil.getloadavg()[0],
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            swap_used=swap.used,
            swap_total=swap.total,
            disk_used=disk.used,
            disk_total=disk.total,
            disk_free=disk.free,
            cards=self._cards(),
            process=self._read_process(),
        )

    def _read_process(self) -> ProcessReading | None:
        if self._process is None:
            return None
        try:
            with self._process.oneshot():
                times = self._process.cpu_times()
                return ProcessReading(
                    self._process.pid,
                    " ".join(self._process.cmdline()) or self._process.name(),
                    self._process.cpu_percent() / 100,
                    self._process.memory_info().rss,
                    self._process.num_threads(),
                    times.user + times.system,
                )
        except psutil.Error:
            return None

    def _cards(self) -> tuple[Card, ...]:
        nvml = self._nvml
        if nvml is None:
            return ()
        try:
            return tuple(self._card(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
        except nvml.NVMLError:
            return ()

    def _card(self, nvml: Any, index: int) -> Card:
        card = nvml.nvmlDeviceGetHandleByIndex(index)
        memory = nvml.nvmlDeviceGetMemoryInfo(card)
        name = nvml.nvmlDeviceGetName(card)
        celsius = watts = held = None
        # Laptops and shared cards refuse some of these.
        with suppress(nvml.NVMLError):
            celsius = float(nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU))
        with suppress(nvml.NVMLError):
            watts = nvml.nvmlDeviceGetPowerUsage(card) / 1000
        with suppress(nvml.NVMLError):
            for process in nvml.nvmlDeviceGetComputeRunningProcesses(card):
                if self._process is not None and process.pid == self._process.pid:
                    held = process.usedGpuMemory
        return Card(
            name.decode() if isinstance(name, bytes) else name,
            nvml.nvmlDeviceGetUtilizationRates(card).gpu / 100,
            memory.used,
            memory.total,
            celsius,
            watts,
            held,
        )


def _process(pid: int | None) -> psutil.Process | None:
    try:
        return None if pid is None else psutil.Process(pid)
    except psutil.Error:
        return None


def _load_nvml() -> Any:
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # Without a driver each version raises something else.
        return None
    return pynvml


def _existing(folder: Path) -> Path:
    folder = folder.resolve()
    return next(path for path in (folder, *folder.parents) if path.exists())


if __name__ == "__main__":
    import os

    seen = Machine(Path("no/such/folder"), os.getpid()).read()
    print(f"{len(seen.cores)} cores, {seen.memory_total} bytes, {len(seen.cards)} cards")
    print(seen.process)
    assert seen.process is not None and seen.process.memory > 0 and 0 <= seen.cpu <= 1
    print("=== 自测通过 ===")
