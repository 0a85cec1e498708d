"""Load of this machine: processors, memory, disk, GPUs, and the process of a run.

Each reading is a frozen snapshot. NVIDIA GPUs are read if `pynvml` (package nvidia-ml-py) can be
imported.
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
    """One GPU; `busy` is 0 to 1, memory is bytes, None means "not known"."""

    name: str
    busy: float
    memory_used: int
    memory_total: int
    celsius: float | None = None
    watts: float | None = None
    by_process: int | None = None
    """GPU memory of the run's process."""


@dataclass(frozen=True)
class ProcessReading:
    pid: int
    command: str
    cpu: float | None
    """In processors: 1.5 means one and a half of them; None in the first reading."""
    memory: int
    threads: int
    seconds: float
    """CPU time."""


@dataclass(frozen=True)
class MachineReading:
    """Processors are 0 to 1, memory and disk bytes."""

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


class Machine:
    """Reads the machine; processor use is measured since the previous call of `read`."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        """`folder` selects the disk; `pid` is a process of this machine, or None."""
        self._folder = folder
        self._process = _process(pid)
        self._nvml = _load_nvml()
        self._begun = False
        """Whether there was a reading, since which the next one measures."""

    def read(self) -> MachineReading:
        shares = tuple(share / 100 for share in psutil.cpu_percent(percpu=True))
        cores = shares if self._begun else ()
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        disk = shutil.disk_usage(_existing(self._folder))
        process = self._read_process()
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
            cards=self._cards(),
            process=process,
        )

    def _read_process(self) -> ProcessReading | None:
        if self._process is None:
            return None
        try:
            with self._process.oneshot():
                times = self._process.cpu_times()
                used = self._process.cpu_percent() / 100
                return ProcessReading(
                    self._process.pid,
                    " ".join(self._process.cmdline()) or self._process.name(),
                    used if self._begun else None,
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
        # Laptop and shared GPUs do not support all of these.
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
    except Exception:  # Without a driver the exception differs between versions.
        return None
    return pynvml


def _existing(folder: Path) -> Path:
    folder = folder.resolve()
    return next(path for path in (folder, *folder.parents) if path.exists())


if __name__ == "__main__":
    import os

    machine = Machine(Path("no/such/folder"), os.getpid())
    assert machine.read().cpu is None
    reading = machine.read()
    print(f"{len(reading.cores)} cores, {reading.memory_total} bytes, {len(reading.cards)} GPUs")
    print(reading.process)
    assert reading.process is not None and reading.cpu is not None and 0 <= reading.cpu <= 1
    print("=== 自测通过 ===")
