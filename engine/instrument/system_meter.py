"""What a script's process uses of its machine: CPU, memory, and a GPU where torch works on one.

Read at most once a second, which costs about 20 µs. Torch is not imported.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import psutil

from lmm_tui.metrics import names

_PERIOD_S = 1.0


class SystemMeter:
    """Reads the process that made it."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._cpu_s, self._read_at = time.process_time(), time.perf_counter()
        self._due = 0.0
        self._nvml = True

    def read(self) -> dict[str, float]:
        """By name of metric; empty until a second after the last reading."""
        now = time.perf_counter()
        if now < self._due:
            return {}
        cpu_s = time.process_time()
        share = (cpu_s - self._cpu_s) / max(now - self._read_at, 1e-6)
        self._cpu_s, self._read_at, self._due = cpu_s, now, now + _PERIOD_S
        memory = self._process.memory_info().rss / 1e9
        return {names.CPU: 100 * share, names.MEMORY: memory, **self._read_gpu()}

    def _read_gpu(self) -> dict[str, float]:
        torch = sys.modules.get("torch")
        try:
            if torch is None or not torch.cuda.is_initialized():
                return _read_mps(torch)
            # What is reserved, not what is in use, is what other programs cannot have.
            devices = range(torch.cuda.device_count())
            reserved = sum(torch.cuda.memory_reserved(device) for device in devices)
            return {names.GPU_MEMORY: reserved / 1e9, **self._read_nvml(torch)}
        except (AttributeError, RuntimeError):  # Torch is being imported, or its device is lost.
            return {}

    def _read_nvml(self, torch: Any) -> dict[str, float]:
        try:
            return {names.GPU: float(torch.cuda.utilization())} if self._nvml else {}
        except Exception:  # Without nvidia-ml-py, or not permitted: it stays so.
            self._nvml = False
            return {}


def _read_mps(torch: Any) -> dict[str, float]:
    if torch is None or sys.platform != "darwin" or not torch.backends.mps.is_available():
        return {}
    return {names.GPU_MEMORY: torch.mps.driver_allocated_memory() / 1e9}


if __name__ == "__main__":
    meter = SystemMeter()
    print(meter.read())
    assert not meter.read()
    print("=== 自测通过 ===")
