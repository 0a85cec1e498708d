"""AMD cards by the files of the amdgpu driver in /sys, which need no package."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from lmm_tui.runs.gpu_cards import Card, CardProcess, Reader

SYSFS = Path("/sys/class/drm")
PROC = Path("/proc")
_AMD = "0x1002"


def reader(sysfs: Path = SYSFS, proc: Path = PROC) -> Reader | None:
    """Reads all cards; None without one."""
    devices = _devices(sysfs)
    return (lambda: tuple(_card(device, proc) for device in devices)) if devices else None


def _devices(sysfs: Path) -> list[Path]:
    """Of cards, not of their connectors such as `card0-HDMI-A-1`, in the order of their numbers."""
    cards = [path for path in sysfs.glob("card*") if path.name[4:].isdecimal()]
    cards.sort(key=lambda path: int(path.name[4:]))
    return [path / "device" for path in cards if _text(path / "device/vendor") == _AMD]


def _card(device: Path, proc: Path) -> Card:
    sensors = next(iter(sorted((device / "hwmon").glob("hwmon*"))), device)
    watts = _number(sensors / "power1_average")
    fan, fastest = _number(sensors / "pwm1"), _number(sensors / "pwm1_max")
    return Card(
        name=_text(device / "product_name") or f"AMD GPU {_text(device / 'device')}".strip(),
        busy=_scaled(_number(device / "gpu_busy_percent"), 100),
        memory_used=_whole(_number(device / "mem_info_vram_used")),
        memory_total=_whole(_number(device / "mem_info_vram_total")),
        celsius=_scaled(_number(sensors / "temp1_input"), 1000),
        watts=_scaled(_number(sensors / "power1_input") if watts is None else watts, 1e6),
        watts_limit=_scaled(_number(sensors / "power1_cap"), 1e6),
        clock=_scaled(_number(sensors / "freq1_input"), 1e6),
        clock_max=_highest(_text(device / "pp_dpm_sclk")),
        fan=fan / fastest if fan is not None and fastest else None,
        processes=_processes(device.resolve().name, proc),
    )


def _highest(levels: str) -> float | None:
    """MHz of the last line of `0: 500Mhz`, `1: 2100Mhz *`."""
    with suppress(ValueError, IndexError):
        return float(levels.splitlines()[-1].split()[1].casefold().removesuffix("mhz"))
    return None


def _processes(bus: str, proc: Path) -> tuple[CardProcess, ...]:
    """Processes with an open file of this card, by what the kernel tells about the file."""
    found: dict[int, dict[str, int]] = {}
    for folder in proc.glob("[0-9]*/fdinfo"):
        try:
            files = list(folder.iterdir())
        except OSError:  # Of another user, or gone.
            continue
        for file in files:
            facts = _facts(file)
            if facts.get("drm-driver") == "amdgpu" and facts.get("drm-pdev") == bus:
                memory = facts.get("drm-memory-vram", "0").split()[0]
                of_process = found.setdefault(int(folder.parent.name), {})
                of_process[facts.get("drm-client-id", "")] = int(memory) * 1024
    return tuple(CardProcess(pid, sum(held.values())) for pid, held in found.items())


def _facts(file: Path) -> dict[str, str]:
    text = _text(file)
    if "drm-driver" not in text:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _number(file: Path) -> float | None:
    with suppress(ValueError):
        return float(_text(file))
    return None


def _scaled(value: float | None, by: float) -> float | None:
    return None if value is None else value / by


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


if __name__ == "__main__":
    read = reader()
    print("no AMD card" if read is None else read())
    assert _highest("0: 500Mhz\n1: 2100Mhz *") == 2100
    print("=== 自测通过 ===")
