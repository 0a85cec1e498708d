"""The cache folder: names in it, and locks that keep readers, writers and `prune` apart.

An entry is a folder named by its key; while it is written it is `.KEY.partial`. Each has a file
`lock`: who writes or removes the folder holds it alone, who reads the tokens holds it with others.
The kernel releases it when a process ends, however that was.

The cache folder may be a link, or come with a run of a stranger; in it no link is followed.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from lmm_tui import guarded_files
from lmm_tui.guarded_files import UnsafeFileError, open_file, read_bytes
from lmm_tui.message import Message, os_reason

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
        descriptor = open_file(folder / LOCK, os.O_RDWR | os.O_CREAT, inside=folder.parent)
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
        descriptor = open_file(folder / LOCK, os.O_RDWR | os.O_CREAT, inside=folder.parent)
        os.utime(descriptor)
    except UnsafeFileError:
        raise
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
        with suppress(OSError):
            guarded_files.remove(doomed, doomed.parent)
        guarded_files.rename(folder, doomed, folder.parent)
        guarded_files.remove(doomed, doomed.parent)
    finally:
        lease.close()
    return True


def note_run(entry: Path, run: Path) -> None:
    """Record that a run is trained on an entry."""
    with suppress(OSError):  # A read-only cache works, too.
        if run.resolve() not in _noted(entry):
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
            handle = open_file(entry / RUNS, flags, inside=entry.parent)
            with os.fdopen(handle, "a", encoding="utf-8") as file:
                file.write(f"{run.resolve()}\n")


def runs_of(entry: Path) -> list[Path]:
    """The runs that were trained on an entry and are still there."""
    return [path for path in _noted(entry) if (path / "run.json").is_file()]


def _noted(entry: Path) -> list[Path]:
    try:
        text = read_bytes(entry / RUNS, entry.parent).decode("utf-8", "replace")
    except OSError:
        return []
    return [Path(line) for line in text.splitlines() if "\0" not in line]


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file of an entry; empty if there is none, or none that is understood."""
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(read_bytes(path, path.parents[1]))
        if isinstance(found, dict):
            return found
    return {}


def unwritable(cache: Path, error: OSError) -> Message:
    """The refusal where nothing can be written to a cache."""
    return Message(
        "data.cache_dir: {cache} cannot be written ({error}); make room there or choose another "
        "folder",
        cache=cache,
        error=os_reason(error),
    )


def and_kept(refusal: Message) -> Message:
    return Message("{refusal}; what was tokenised so far is kept", refusal=refusal)


def bytes_in(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; what vanishes meanwhile counts nothing."""
    files = [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    total = 0
    for file in files if path.is_dir() else [path]:
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
