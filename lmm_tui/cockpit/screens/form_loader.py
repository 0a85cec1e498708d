"""Loads the form while nobody waits for it: 0.2 s of its first opening are imports and validators.

A run that trains in this process is not kept waiting for it: there the form is loaded when opened.
"""

from __future__ import annotations

import threading
from functools import cache


def begin() -> None:
    """Load it in a thread, once for the process; called after the first paint."""
    if not _thread().ident:
        _thread().start()


def wait() -> None:
    """Until it is loaded, where that has begun: validators are not built by two threads at once."""
    if _thread().ident:
        _thread().join()


@cache
def _thread() -> threading.Thread:
    return threading.Thread(target=_load, name="form", daemon=True)


def _load() -> None:
    from lmm_tui.cockpit.screens import configure

    configure.RunConfig()


if __name__ == "__main__":
    wait()
    begin()
    begin()
    wait()
    assert not _thread().is_alive()
    print("=== 自测通过 ===")
