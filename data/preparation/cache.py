"""The cache folder: names in it, and locks that keep readers, writers and `prune` apart.

An entry is a folder named by its key; while it is written it is `.KEY.partial`. Each has a file
`lock`: who writes or removes the folder holds it alone, who reads the tokens holds it with others.
The kernel releases it when a process ends, however that was.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from lmm_tui.guarded_files import PRIVATE, open_file

LOCK = "lock"
"""Its time of change is when the folder was last used."""
RUNS = "runs"
"""The paths of the runs that were trained on an entry, a line each."""


def partial_of(entry: Path) -> Path:
    """Where an entry is written until it is complete."""
    return entry.with_name(f".{entry.name}.partial")


class Lease:
    """A lock that is held until `close`, or until nobody refers to it."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    @property
    def is_held(self) -> bool:
        return self._descriptor is not None

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        self.close()


def hold_alone(folder: Path) -> Lease | None:
    """To write or remove a folder; None while another process holds it, or where it is gone."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, PRIVATE)
    except FileNotFoundError:
        return None
    return _locked(folder, descriptor, fcntl.LOCK_EX)


def hold_shared(folder: Path) -> Lease | None:
    """To read a folder, which is noted as used now; None while it is removed, or where it is gone.

    A cache that cannot be written to, or has no locks, is read without one.
    """
    if not folder.is_dir():
        return None
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, PRIVATE)
        os.utime(descriptor)
    except OSError:
        return Lease(None)
    try:
        return _locked(folder, descriptor, fcntl.LOCK_SH)
    except OSError:
        return Lease(None)


def _locked(folder: Path, descriptor: int, mode: int) -> Lease | None:
    lease = Lease(descriptor)
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
        now = (folder / LOCK).stat()  # It may have been renamed or removed before it was locked.
    except (BlockingIOError, FileNotFoundError):
        return None
    return lease if now.st_ino == os.fstat(descriptor).st_ino else None


def remove(folder: Path) -> bool:
    """Remove an entry or what is left of one; False, and nothing is done, while it is in use."""
    lease = hold_alone(folder)
    if lease is None:
        return not folder.exists()
    try:
        # No one can open it while it is being removed.
        doomed = folder.with_name(f".{folder.name.strip('.').partition('.')[0]}.removed")
        shutil.rmtree(doomed, ignore_errors=True)
        folder.rename(doomed)
        shutil.rmtree(doomed)
    finally:
        lease.close()
    return True


def note_run(entry: Path, run: Path) -> None:
    """Record that a run is trained on an entry."""
    noted = entry / RUNS
    line = f"{run.resolve()}\n"
    with suppress(OSError):  # A read-only cache works, too.
        if not noted.exists() or line not in noted.read_text("utf-8").splitlines(keepends=True):
            handle = open_file(noted, os.O_RDWR | os.O_APPEND | os.O_CREAT, inside=noted.parent)
            with os.fdopen(handle, "a", encoding="utf-8") as file:
                file.write(line)


def runs_of(entry: Path) -> list[Path]:
    """The runs that were trained on an entry and are still there."""
    try:
        lines = (entry / RUNS).read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    return [path for path in map(Path, lines) if (path / "run.json").is_file()]


def bytes_in(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; what vanishes meanwhile counts nothing."""
    total = 0
    for file in path.rglob("*") if path.is_dir() else [path]:
        with suppress(OSError):
            total += file.stat().st_size
    return total


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        demo = Path(scratch, "entry")
        demo.mkdir()
        readers = [hold_shared(demo), hold_shared(demo)]
        assert all(readers) and hold_alone(demo) is None and not remove(demo)
        readers.clear()
        assert remove(demo) and hold_shared(demo) is None
        print("removed once nobody read it:", list(Path(scratch).iterdir()))
    print("=== 自测通过 ===")
