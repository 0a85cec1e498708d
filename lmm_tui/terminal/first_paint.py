"""The garbage collector waits until there is something to see, and is then set for a long life.

Imports and a first screen make objects that stay: going over them again and again is a fifth of the
time until the first paint.
"""

from __future__ import annotations

import gc

_OLD_GARBAGE_AFTER = 100
"""Collections of younger objects."""


def hurry() -> None:
    """Collect nothing until `arrived`."""
    gc.disable()


def arrived() -> None:
    """Collect again, but never what is there now: it would take 0.05 s out of an answer."""
    gc.freeze()
    gc.set_threshold(*gc.get_threshold()[:2], _OLD_GARBAGE_AFTER)
    gc.enable()


if __name__ == "__main__":
    hurry()
    print("collecting:", gc.isenabled())
    arrived()
    assert gc.isenabled() and gc.get_freeze_count() > 0
    print("=== 自测通过 ===")
