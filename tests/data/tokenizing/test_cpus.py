"""The CPUs that a process may use: never more than its affinity and its control groups allow."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lmm_tui.data.tokenizing.cpus import usable_cpus


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("lines", "files", "expected"),
    [
        ("0::/job/step", {"job/step/cpu.max": "250000 100000"}, 3),
        ("0::/job/step", {"job/cpu.max": "200000 100000", "job/step/cpu.max": "max 100000"}, 2),
        ("0::/../host/path", {"cpu.max": "150000 100000"}, 2),
        ("0::/", {"cpu.max": "max 100000"}, 8),
        ("0::/", {"cpu.max": "5000 100000"}, 1),
        ("0::/", {"cpu.max": "9900000 100000"}, 8),
        (
            "4:cpu,cpuacct:/job\n1:memory:/job",
            {"cpu/job/cpu.cfs_quota_us": "400000", "cpu/job/cpu.cfs_period_us": "100000"},
            4,
        ),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ("", {}, 8),
    ],
)
def test_the_smallest_limit_counts(
    tmp_path: Path, lines: str, files: dict[str, str], expected: int
) -> None:
    own = tmp_path / "own"
    own.write_text(lines, encoding="utf-8")
    for name, content in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n", encoding="utf-8")
    assert usable_cpus(str(own), tmp_path / "root") == expected


def test_without_control_groups_it_is_the_affinity(tmp_path: Path) -> None:
    assert usable_cpus(str(tmp_path / "nowhere"), tmp_path) == 8
