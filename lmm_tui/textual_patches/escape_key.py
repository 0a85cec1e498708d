"""Answers the escape key at once: Textual 8.2 takes 0.1 to 0.2 s to see that no more codes follow.

Its parser gives up waiting after `constants.ESCAPE_DELAY`, but is asked only when the input thread
wakes, every 0.1 s. Here that thread wakes soon after input, and only then; where no key has been
pressed for a while, it sleeps longer. It knows nothing of the app.
"""

from __future__ import annotations

import os
import selectors
from types import SimpleNamespace

from textual import constants
from textual.drivers import linux_driver

DELAY_S = 0.01
"""The codes of a key arrive in one piece, over ssh, too; tmux waits as long."""

_SHORT_WAITS = 20
"""So many before the long ones: quitting by a key does not wait for a long one."""
_LONG_WAIT_S = 0.5
"""Quitting by a signal may take as much longer."""


class EscapeSelector(selectors.SelectSelector):
    """Waits briefly after input and long where there has been none for a while."""

    def __init__(self) -> None:
        super().__init__()
        self._empty_waits = 1

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if not self.get_map():
            return []  # The input thread ends and asks once more, of nothing.
        if self._empty_waits == 0:
            timeout = constants.ESCAPE_DELAY
        elif self._empty_waits > _SHORT_WAITS:
            timeout = _LONG_WAIT_S
        ready = super().select(timeout)
        self._empty_waits = 0 if ready else self._empty_waits + 1
        return ready


def install() -> None:
    """For every app that starts from now on; `ESCDELAY` is still obeyed."""
    if "ESCDELAY" not in os.environ:
        constants.ESCAPE_DELAY = DELAY_S  # type: ignore[misc]
    module = SimpleNamespace(**vars(selectors) | {"SelectSelector": EscapeSelector})
    linux_driver.selectors = module  # type: ignore[assignment]


if __name__ == "__main__":
    install()
    reader, writer = os.pipe()
    selector = EscapeSelector()
    selector.register(reader, selectors.EVENT_READ)
    os.write(writer, b"\x1b")
    print(selector.select(1.0), os.read(reader, 1), selector.select(1.0))
    print("=== 自测通过 ===")
