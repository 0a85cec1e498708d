"""A `pynvml` that answers from a table, card by card; what is not in the table is not supported.

The names and the units are those of nvidia-ml-py 13.615: bytes, milliwatts, MHz, percent.
"""

from types import SimpleNamespace

H100 = {
    "nvmlDeviceGetName": "NVIDIA H100 80GB HBM3",
    "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=85_520_809_984, used=40_000_000_000, free=0),
    "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=93, memory=41),
    "nvmlDeviceGetTemperature": 61,
    "nvmlDeviceGetPowerUsage": 480_123,
    "nvmlDeviceGetEnforcedPowerLimit": 700_000,
    "nvmlDeviceGetClockInfo": 1755,
    "nvmlDeviceGetMaxClockInfo": 1980,
    "nvmlDeviceGetCurrentClocksEventReasons": 0x4,
    "nvmlDeviceGetComputeRunningProcesses": (),
    "nvmlDeviceGetGraphicsRunningProcesses": (),
}
"""A busy data-centre card that has no fan, held at its power limit."""

LAPTOP = {
    "nvmlDeviceGetName": b"NVIDIA GeForce RTX 3050 Laptop GPU",
    "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=4_294_967_296, used=510_000_000, free=0),
    "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=0, memory=0),
    "nvmlDeviceGetTemperature": 44,
    "nvmlDeviceGetFanSpeed": 30,
    "nvmlDeviceGetCurrentClocksThrottleReasons": 0x41,
}
"""An idle card of an old driver that tells neither power nor clocks nor processes."""

MIG = {"nvmlDeviceGetName": "NVIDIA A100-SXM4-40GB"}
"""A card that is divided: its parts are busy, not it."""


class FakeNvml:
    """Give it to `sys.modules` as pynvml."""

    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_SM = 1

    class NVMLError(Exception):
        """Raised for whatever a card does not support."""

    def __init__(self, *cards):
        self.cards = cards

    def nvmlInit(self):
        """There is a driver."""

    def nvmlDeviceGetCount(self):
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index):
        if self.cards[index] is None:
            raise self.NVMLError("GPU is lost")
        return index

    def __getattr__(self, name):
        if not name.startswith("nvmlDeviceGet"):
            raise AttributeError(name)

        def answer(index, *_):
            if name not in self.cards[index]:
                raise self.NVMLError("Not Supported")
            return self.cards[index][name]

        return answer


def used_by(card, **memory_by_pid):
    """`card` with compute processes `pid_7=bytes`; None is a memory that is not told."""
    processes = [
        SimpleNamespace(pid=int(name.removeprefix("pid_")), usedGpuMemory=memory)
        for name, memory in memory_by_pid.items()
    ]
    return card | {"nvmlDeviceGetComputeRunningProcesses": processes}
