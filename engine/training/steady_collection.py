"""When Python collects garbage while a run trains.

A collection stops the thread that feeds a GPU, for a moment that grows with what is alive, and on
several ranks each would stop at another step while the others wait. So where the host must not
fall behind, collections are made at fixed steps, the same ones on all ranks.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

EVERY = 50
"""Steps between two collections of what is young; of all that is alive every tenth time."""


def leave_out_what_is_alive() -> None:
    """Torch and the screens stay alive to the end: scanning them again costs 0.1 s in a step.

    Call it before a run is set up: what it freezes is never freed, if it is part of a circle.
    """
    gc.collect()
    gc.freeze()


class SteadyCollection:
    """`step` after each step."""

    def __init__(self, controlled: bool) -> None:
        """Not `controlled`, Python collects when it likes, as beside a screen on a CPU."""
        self._controlled = controlled

    @contextmanager
    def training(self) -> Iterator[None]:
        """In the `with` block the rule holds."""
        was_enabled = gc.isenabled()
        if self._controlled:
            gc.disable()
        try:
            yield
        finally:
            if was_enabled:
                gc.enable()

    def step(self, step: int) -> None:
        if self._controlled and step % EVERY == 0:
            gc.collect(2 if step % (10 * EVERY) == 0 else 1)


if __name__ == "__main__":
    was_enabled = gc.isenabled()
    steady = SteadyCollection(controlled=True)
    with steady.training():
        print("collected by itself:", gc.isenabled())
        steady.step(EVERY)
        assert not gc.isenabled()
    assert gc.isenabled() == was_enabled
    print("=== 自测通过 ===")
