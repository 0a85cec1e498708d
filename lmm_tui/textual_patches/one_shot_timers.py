"""Keeps a timer that ticks once from being skipped: Textual 8.2 then never calls it.

A timer leaves out ticks that are late already when it begins to wait. If the system takes the
processor away for longer than the delay right there, the only tick is left out. The delay of a
resize is 8 ms, and where it is lost no screen hears of any resize again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from textual.message_pump import MessagePump
from textual.timer import Timer


def install() -> None:
    """For all timers that are set from now on."""
    MessagePump.set_timer = _never_skipped(MessagePump.set_timer)  # type: ignore[method-assign]


def _never_skipped(set_timer: Callable[..., Timer]) -> Callable[..., Timer]:
    @wraps(set_timer)
    def set_and_keep(*args: object, **options: object) -> Timer:
        timer = set_timer(*args, **options)
        timer._skip = False
        return timer

    return set_and_keep


if __name__ == "__main__":
    from types import SimpleNamespace

    kept = _never_skipped(lambda delay: SimpleNamespace(delay=delay, _skip=True))  # type: ignore
    print(kept(0.008))
    assert not kept(0.008)._skip
    print("=== 自测通过 ===")
