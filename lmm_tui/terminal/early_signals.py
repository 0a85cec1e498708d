"""SIGTERM and SIGHUP from before there is an app to take them, noted and not obeyed at once.

An exception from a signal handler is no way out while modules are imported: one raised within a
weak reference's callback, as the import system has them, is printed and lost.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def early_signals() -> Iterator[Sequence[int]]:
    """Within the block both are noted; yields their numbers, in order of arrival."""
    early: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        early.append(number)

    before = [signal.signal(each, note) for each in _ENDING]
    try:
        yield early
    finally:
        for each, handler in zip(_ENDING, before, strict=True):
            signal.signal(each, handler)


if __name__ == "__main__":
    with early_signals() as early:
        signal.raise_signal(signal.SIGHUP)
    print(early)
    assert list(early) == [signal.SIGHUP]
    print("=== 自测通过 ===")
