"""The GPU of Apple silicon by `ioreg`, which needs no rights; its memory is that of the machine.

Power, temperature and clocks are told to the administrator only (`powermetrics`).
"""

from __future__ import annotations

import re
import subprocess
import sys

import psutil

from lmm_tui.runs.gpu_cards import Card, Reader

_COMMAND = ("ioreg", "-r", "-d", "1", "-w", "0", "-c", "IOAccelerator")
_TIMEOUT_S = 2.0


def reader() -> Reader | None:
    """Reads the GPU; None on other machines."""
    if sys.platform != "darwin":
        return None
    return lambda: cards_in(_ask(), psutil.virtual_memory().total)


def _ask() -> str:
    try:
        done = subprocess.run(
            _COMMAND, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def cards_in(text: str, memory: int) -> tuple[Card, ...]:
    """The accelerators that `ioreg` lists; `memory` is that of the machine, in bytes."""
    entries = re.split(r"^\+-o ", text, flags=re.MULTILINE)
    return tuple(
        Card(
            name=_found(r'"model" = <?"([^"]+)"', entry) or "Apple GPU",
            busy=_share(_found(r'"Device Utilization %"=(\d+)', entry)),
            memory_used=_whole(_found(r'"In use system memory"=(\d+)', entry)),
            memory_total=memory,
        )
        for entry in entries
        if '"PerformanceStatistics"' in entry
    )


def _found(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found[1] if found else None


def _share(percent: str | None) -> float | None:
    return None if percent is None else int(percent) / 100


def _whole(digits: str | None) -> int | None:
    return None if digits is None else int(digits)


if __name__ == "__main__":
    example = (
        '+-o AGXAcceleratorG13X\n  {\n    "model" = "Apple M1 Pro"\n    "PerformanceStatistics" = '
        '{"In use system memory"=1048576,"Device Utilization %"=37}\n  }\n'
    )
    print(cards_in(example, 16_000_000_000))
    assert cards_in(example, 1)[0].busy == 0.37 and cards_in("", 1) == ()
    print("=== 自测通过 ===")
