"""Faults at the places where a run writes, as a full, read-only or lost disk makes them.

For root no mode is a barrier, so what Python opens, makes, renames or removes is refused by an
audit hook; what is open already is pointed at /dev/full, where the kernel itself says ENOSPC, or
at a pipe that nobody reads, where it does not come back, as from a network file system.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}


class Refusals:
    """Refuses, from `begin` to `end`, to write where the path holds a word; one a process."""

    def __init__(self) -> None:
        self._word = ""
        self._number: int | None = 0
        self._over = threading.Event()
        self.refused = 0
        sys.addaudithook(self._look)

    def begin(self, word: str, number: int | None) -> None:
        """With this error number; None: does not answer until the end."""
        self._over.clear()
        self._word, self._number, self.refused = word, number, 0

    def end(self) -> None:
        self._word = ""
        self._over.set()

    def _look(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._word or not (event == "open" or event in _CHANGES):
            return
        if event == "open" and not (isinstance(args[2], int) and args[2] & _WRITES):
            return
        paths = [
            os.fsdecode(path) for path in args[:2] if isinstance(path, str | bytes | os.PathLike)
        ]
        if any(self._word in path for path in paths):
            self.refused += 1
            if self._number is None:
                self._over.wait()
                return
            raise OSError(self._number, os.strerror(self._number), args[0])


@contextmanager
def full(path: Path) -> Iterator[None]:
    """While in the block, whoever has `path` open writes to a full disk."""
    with _pointed_at(os.open("/dev/full", os.O_WRONLY), path):
        yield


@contextmanager
def hanging(path: Path) -> Iterator[None]:
    """While in the block, whoever has `path` open writes, and the write does not come back.

    After it what was held up is in the file, but maybe behind lines that came later.
    """
    out, into = os.pipe()
    os.set_blocking(into, False)
    filled = 0
    with suppress(BlockingIOError):
        while True:
            filled += os.write(into, bytes(1 << 20))
    os.set_blocking(into, True)
    try:
        with _pointed_at(into, path):
            yield
    finally:
        with os.fdopen(out, "rb") as pipe, path.open("ab") as file:
            file.write(pipe.read()[filled:])


@contextmanager
def _pointed_at(other: int, path: Path) -> Iterator[None]:
    """While in the block, what has `path` open has `other`, which is closed after it."""
    held = [int(at.name) for at in Path("/proc/self/fd").iterdir() if _leads_to(at, path)]
    kept = [(number, os.dup(number)) for number in held]
    assert kept, f"{path} is not open"
    try:
        for number in held:
            os.dup2(other, number, inheritable=False)
        yield
    finally:
        for number, copy in kept:
            os.dup2(copy, number, inheritable=False)
            os.close(copy)
        os.close(other)


def _leads_to(descriptor: Path, path: Path) -> bool:
    try:
        return descriptor.readlink() == path.resolve()
    except OSError:
        return False
