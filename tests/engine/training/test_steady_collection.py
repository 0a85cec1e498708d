"""Garbage is collected at fixed steps where the host must not fall behind."""

import gc
import weakref

from lmm_tui.engine.training.steady_collection import EVERY, SteadyCollection


class Cycle:
    def __init__(self) -> None:
        self.me = self


def test_cycles_wait_for_their_step_and_python_takes_over_after_it() -> None:
    steady = SteadyCollection(controlled=True)
    with steady.training():
        assert not gc.isenabled()
        left = weakref.ref(Cycle())
        for step in range(1, EVERY):
            steady.step(step)
        assert left() is not None
        steady.step(EVERY)
        assert left() is None
    assert gc.isenabled()


def test_beside_a_screen_python_decides() -> None:
    steady = SteadyCollection(controlled=False)
    with steady.training():
        assert gc.isenabled()
        steady.step(EVERY)
