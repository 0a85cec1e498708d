"""The runs that this process has made, so that it does not stumble over its own.

A notebook runs a cell twice, a Trainer trains once more: the second run of a path gets a number,
and the first one ends if it has not yet. A path of another process is not looked at.
"""

from __future__ import annotations

import logging
import os
import sys
from itertools import count
from pathlib import Path
from typing import Protocol

from lmm_tui.engine.run.run_dir import RunDir

_log = logging.getLogger("engine")


class OwnRun(Protocol):
    """What is asked of a run here."""

    run_dir: RunDir
    closed: bool
    entered: bool

    def retire(self) -> None: ...


_made: list[tuple[int, OwnRun]] = []
"""With the process that made it, since a forked child inherits this."""


def remember(run: OwnRun) -> None:
    _made.append((os.getpid(), run))


def typed_in(filename: str) -> bool:
    """Whether code of this file name is a notebook's cell, or typed at a prompt."""
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules or not Path(filename).exists()


def unused_path(given: Path) -> Path:
    """`given`, or with a number if this process has made a run there before, which then ends."""
    if not _end_earlier(given) or not RunDir(given).exists():
        return given
    numbered = (given.with_name(f"{given.name}-{number}") for number in count(2))
    path = next(path for path in numbered if not path.exists())
    _log.warning("%s holds an earlier run of this program; the new one is %s", given, path.name)
    return path


def resumed_path(given: Path) -> Path:
    """`given`; what this process has open there ends."""
    _end_earlier(given)
    return given


def _end_earlier(given: Path) -> bool:
    """Whether this process has made runs there, of which none is inside its `with` block."""
    mine = [run for pid, run in _made if pid == os.getpid() and _same(run.run_dir.path, given)]
    if any(run.entered for run in mine):
        return False
    for run in mine:
        if not run.closed:
            run.retire()
    return bool(mine)


def _same(path: Path, given: Path) -> bool:
    """Whether a path is `given`, or that with a number."""
    number = path.name.removeprefix(given.name).removeprefix("-")
    numbered = given.with_name(f"{given.name}-{number}")
    return path == given or (number.isdecimal() and path == numbered)


if __name__ == "__main__":
    print(unused_path(Path("runs/demo")), typed_in("<cell>"), _same(Path("a/x-2"), Path("a/x")))
    print("=== 自测通过 ===")
