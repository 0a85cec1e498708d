"""NVIDIA cards by NVML, through `pynvml` of the package nvidia-ml-py."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from lmm_tui.i18n.language import mark
from lmm_tui.runs.gpu_cards import Card, CardProcess, Reader

_THROTTLES = (
    (0x04, mark("power cap")),
    (0x08, mark("hardware slowdown")),
    (0x20, mark("too hot (driver)")),
    (0x40, mark("too hot (hardware)")),
    (0x80, mark("power brake")),
)
"""Bits of `nvmlClocksEventReason…`; an idle card and clocks that a person set are no throttling."""


def reader() -> Reader | None:
    """Reads all cards; None without a driver, a card or the package."""
    try:
        import pynvml

        pynvml.nvmlInit()
        if not pynvml.nvmlDeviceGetCount():
            return None
    except Exception:  # Without a driver the exception differs between versions.
        return None
    return lambda: read_all(pynvml)


def read_all(nvml: Any) -> tuple[Card, ...]:
    """All cards; one that has fallen off the bus is shown by its name alone."""
    try:
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError:
        return ()
    return tuple(_card(nvml, index) for index in range(count))


def _card(nvml: Any, index: int) -> Card:
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
    except nvml.NVMLError:
        return Card(f"GPU {index}")

    def ask(function: str, *arguments: object) -> Any:
        """The answer, or None where the card or the driver does not support the question."""
        known: Callable[..., Any] | None = getattr(nvml, function, None)
        if known is not None:
            with suppress(nvml.NVMLError):
                return known(handle, *arguments)
        return None

    name, uuid = _text(ask("nvmlDeviceGetName")), _text(ask("nvmlDeviceGetUUID"))
    memory = ask("nvmlDeviceGetMemoryInfo")
    rates = ask("nvmlDeviceGetUtilizationRates")
    reasons = ask("nvmlDeviceGetCurrentClocksEventReasons")
    if reasons is None:  # Drivers before 535 know it by its old name.
        reasons = ask("nvmlDeviceGetCurrentClocksThrottleReasons")
    return Card(
        name=name or f"GPU {index}",
        uuid=uuid,
        busy=None if rates is None else rates.gpu / 100,
        memory_used=None if memory is None else int(memory.used),
        memory_total=None if memory is None else int(memory.total),
        celsius=_scaled(ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU), 1),
        watts=_scaled(ask("nvmlDeviceGetPowerUsage"), 1000),
        watts_limit=_scaled(ask("nvmlDeviceGetEnforcedPowerLimit"), 1000),
        clock=_scaled(ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM), 1),
        clock_max=_scaled(ask("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_SM), 1),
        fan=_scaled(ask("nvmlDeviceGetFanSpeed"), 100),
        throttle=tuple(text for bit, text in _THROTTLES if (reasons or 0) & bit),
        processes=_processes(ask),
    )


def _processes(ask: Callable[..., Any]) -> tuple[CardProcess, ...]:
    found: dict[int, CardProcess] = {}
    for kind in ("Graphics", "Compute"):
        for one in ask(f"nvmlDeviceGet{kind}RunningProcesses") or ():
            found[int(one.pid)] = CardProcess(int(one.pid), one.usedGpuMemory)
    return tuple(found.values())


def _text(answer: str | bytes | None) -> str:
    return answer.decode() if isinstance(answer, bytes) else answer or ""


def _scaled(value: float | None, by: float) -> float | None:
    return None if value is None else float(value) / by


if __name__ == "__main__":
    read = reader()
    print("no NVIDIA card" if read is None else read())
    print("=== 自测通过 ===")
