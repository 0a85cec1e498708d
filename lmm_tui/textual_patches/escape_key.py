"""The escape key at once: Textual 8.2 takes 0.1 to 0.2 s to see that no longer code follows.

Its parser gives up waiting after `constants.ESCAPE_DELAY`, but is asked only when its input thread
wakes, every 0.1 s. Here that thread looks again soon after input, and only then; where nobody has
pressed a key for a while, it sleeps longer. It knows nothing of the app.
"""

from __future__ import annotations

import os
import selectors
from types import SimpleNamespace

from textual import constants
from textual.drivers import linux_driver

DELAY_S = 0.01
"""The codes of keys come in one piece, over ssh, too; tmux waits as long."""


_USUAL_WAITS = 20
"""So many before the long ones: whoever leaves by a key doesn't wait for one."""
_LONG_WAIT_S = 0.5
"""The end of an app by a signal may take as much longer."""


class SoonAgain(selectors.SelectSelector):
    """After something was ready, the next wait is a short one; after long silence they are long."""

    def __init__(self) -> None:
        super().__init__()
        self._in_vain = 1

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._in_vain == 0:
            timeout = constants.ESCAPE_DELAY
        elif self._in_vain > _USUAL_WAITS:
            timeout = _LONG_WAIT_S
        ready = super().select(timeout)
        self._in_vain = 0 if ready else self._in_vain + 1
        return ready


def install() -> None:
    """For every app that starts from now on; `ESCDELAY` is obeyed as ever."""
    if "ESCDELAY" not in os.environ:
        constants.ESCAPE_DELAY = DELAY_S  # type: ignore[misc]
    quick = SimpleNamespace(**vars(selectors) | {"SelectSelector": SoonAgain})
    linux_driver.selectors = quick  # type: ignore[assignment]


if __name__ == "__main__":
    import time

    install()
    reader, writer = os.pipe()
    selector = SoonAgain()
    selector.register(reader, selectors.EVENT_READ)
    os.write(writer, b"\x1b")
    assert selector.select(1.0) and os.read(reader, 1) == b"\x1b"
    started = time.perf_counter()
    assert not selector.select(1.0)
    print(f"asked again after {time.perf_counter() - started:.3f} s")
    assert time.perf_counter() - started < 0.5
    print("=== 自测通过 ===")
