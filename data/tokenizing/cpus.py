"""How many CPUs this process may use: its affinity, and the quota of its control group."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def usable_cpus(own: str = "/proc/self/cgroup", root: Path = _ROOT) -> int:
    """At least 1. `own` says in which control groups the process is, `root` holds them."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, min(count, *(math.ceil(quota) for quota in _quotas(own, root)), count))


def _quotas(own: str, root: Path) -> list[float]:
    """CPUs that each control group above the process allows it; empty without a limit."""
    found = []
    with suppress(OSError):
        for line in Path(own).read_text("utf-8").splitlines():
            number, controllers, path = line.split(":", 2)
            if number != "0" and "cpu" not in controllers.split(","):
                continue
            base = root if number == "0" else root / "cpu"
            folder = base / path.strip("/")
            # Inside of a container the path is that of the host, and the limits are at the root.
            for one in {base, *(at for at in (folder, *folder.parents) if base in at.parents)}:
                found += _quota(one)
    return found


def _quota(folder: Path) -> list[float]:
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text("utf-8").split()
        return [int(quota) / int(period)]  # "max", where there is none, is a ValueError.
    with suppress(OSError, ValueError):
        microseconds = int((folder / "cpu.cfs_quota_us").read_text("utf-8"))
        period_us = int((folder / "cpu.cfs_period_us").read_text("utf-8"))
        return [microseconds / period_us] if microseconds > 0 else []
    return []


if __name__ == "__main__":
    print(usable_cpus(), "CPUs")
    assert usable_cpus() >= 1
    print("=== 自测通过 ===")
