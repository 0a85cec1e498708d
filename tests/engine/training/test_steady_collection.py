"""Garbage is collected at fixed steps where the host must not fall behind."""

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import SMALLEST

from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.training import loop
from lmm_tui.engine.training.parts import TrainingParts
from lmm_tui.engine.training.run_host import EngineHost
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


def test_the_model_of_a_run_that_has_ended_is_freed(tmp_path: Path) -> None:
    """A cockpit may train run after run in one process, and the memory of a GPU is small."""
    models: list[weakref.ref[torch.nn.Module]] = []
    setting_up = loop.set_up

    def remembered(*given: Any) -> TrainingParts:
        parts = setting_up(*given)
        models.append(weakref.ref(parts.context.model))
        return parts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "set_up", remembered)
        for name in ("first", "second"):
            assignments = SMALLEST | {"runs_dir": str(tmp_path), "name": name, "train.steps": 1}
            EngineHost(resolve(assignments=assignments | {"device": "cpu"})).run()
    assert len(models) == 2 and models[0]() is None
