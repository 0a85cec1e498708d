"""What the first paint waits for, and what becomes of the collector after it."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.terminal import first_paint


@pytest.fixture(autouse=True)
def _collector_as_before():
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    gc.enable()


async def test_the_cockpit_collects_garbage_again_once_it_has_painted(tmp_path: Path) -> None:
    first_paint.hurry()
    assert not gc.isenabled()
    async with CockpitApp(runs_dir=tmp_path).run_test() as pilot:
        while not gc.isenabled():
            await pilot.pause()
    assert gc.get_freeze_count() > 0
