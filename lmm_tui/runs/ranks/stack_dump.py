"""Asks all ranks of a run for their stacks, and collects what they write."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from lmm_tui.engine.parallel.beats import stacks_file
from lmm_tui.engine.parallel.rank_watch import request_stacks
from lmm_tui.engine.parallel.stacks import StackGroup, group_stacks
from lmm_tui.engine.run.rank_records import read_ranks
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import reading
from lmm_tui.message import os_reason

_WAIT_S = 8.0
_STILL_S = 0.3
"""A dump has no mark at its end: it is whole once its file has not grown for so long."""
_POLL_S = 0.05
_LONGEST = 1 << 20


class StacksError(LmmError):
    """A run whose ranks cannot be asked."""


@dataclass(frozen=True)
class StackReport:
    """`groups` of equal stacks, the smallest first; the `silent` ranks wrote none."""

    groups: tuple[StackGroup, ...]
    silent: tuple[int, ...]
    folder: Path
    """Where the dumps are, a file a rank."""


def collect_stacks(run: RunDir, wait_s: float = _WAIT_S) -> StackReport:
    """Takes a second or two, and no longer than `wait_s`.

    Raises StacksError for a run of one process, or one that cannot be written to.
    """
    table = read_ranks(run.ranks_file)
    if table is None or not table.ranks:
        raise StacksError("{path}: no rank has begun, so there are no stacks", path=run.path)
    files = {beat.rank: stacks_file(run, table.attempt, beat.rank) for beat in table.ranks}
    before = {rank: _size(file) for rank, file in files.items()}
    try:
        request_stacks(run)
    except OSError as error:
        raise StacksError(
            "{path}: the request for stacks cannot be written ({error})",
            path=run.path,
            error=os_reason(error),
        ) from None
    _wait(files, before, wait_s)
    dumps = {
        rank: _read(file, before[rank], run)
        for rank, file in files.items()
        if _size(file) > before[rank]
    }
    silent = tuple(sorted(files.keys() - dumps.keys()))
    return StackReport(tuple(group_stacks(dumps)), silent, next(iter(files.values())).parent)


def _wait(files: dict[int, Path], before: dict[int, int], wait_s: float) -> None:
    deadline, sizes, since = time.monotonic() + wait_s, before, time.monotonic()
    while time.monotonic() < deadline:
        time.sleep(_POLL_S)
        now = {rank: _size(file) for rank, file in files.items()}
        if now != sizes:
            sizes, since = now, time.monotonic()
        came = all(now[rank] > size for rank, size in before.items())
        if came and time.monotonic() - since > _STILL_S:
            return


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _read(file: Path, start: int, run: RunDir) -> str:
    with reading(file, run.path) as opened:
        opened.seek(start)
        return (opened.read(_LONGEST) or b"").decode("utf-8", "replace")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        try:
            collect_stacks(RunDir(folder))
        except StacksError as refusal:
            print(refusal)
    print("=== 自测通过 ===")
