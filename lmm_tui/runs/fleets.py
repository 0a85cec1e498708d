"""The fleets that this process shows, by the folder in which their runs are listed.

Apart from `fleet`, which a list of runs of this machine does not load.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lmm_tui.engine.run.run_dir import RUNS_DIR


@dataclass(frozen=True)
class RunDetail:
    """What a list says of a run beyond its records, all of it small."""

    run: str
    began: dict[str, Any]
    """Its settings, by dotted key."""
    now: dict[str, Any]
    """The same after the last change."""
    best: float | None
    best_step: int | None
    curve: list[float | None]


class RemoteRuns(Protocol):
    """Runs of other machines, listed in a folder of this one."""

    @property
    def away(self) -> dict[str, str]:
        """The machines that are not connected now, by name, with why."""

    def detail(self, run: Path) -> RunDetail | None:
        """What its machine says of a listed run beyond its records; None before it has."""

    def follow(self, run: Path) -> None:
        """Mirror a listed run whole; raises an LmmError where that cannot be done."""


OPEN: dict[Path, RemoteRuns] = {}


def fleet_of(folder: Path) -> RemoteRuns | None:
    """The fleet whose runs this folder lists."""
    return OPEN.get(folder)


def folder_for_new_runs(folder: Path) -> Path:
    """Where a run that is started from a list goes: never to a folder of mirrors, which is
    removed with the screen.
    """
    return Path(RUNS_DIR) if has_mirrors(folder) else folder


def has_mirrors(folder: Path) -> bool:
    """Whether the runs of a folder are mirrors of runs on other machines."""
    return folder in OPEN or folder == Path(tempfile.gettempdir())


if __name__ == "__main__":
    print(fleet_of(Path("runs")), folder_for_new_runs(Path(tempfile.gettempdir())))
    assert folder_for_new_runs(Path("elsewhere")) == Path("elsewhere")
    print("=== 自测通过 ===")
