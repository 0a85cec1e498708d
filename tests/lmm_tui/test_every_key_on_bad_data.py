"""No key of the charts or of the dashboard's pages brings it down, whatever the run holds."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from looking import screen_text
from made_runs import make_run

from lmm_tui.app import CockpitApp
from lmm_tui.keys import KEYS
from lmm_tui.session import RunSession

_VIEWS = ("view.", "chart.", "focus.", "metrics.")
PRESSED = [
    row.keys[0]
    for row in KEYS
    if row.where == "charts" or (row.where == "dashboard" and row.id.startswith(_VIEWS))
]
_ESCAPES = "\x1b[31m\x1b]0;owned\x07[b]bold[/b]\u202e"
_ODD = {
    "nothing": [],
    "one point": [{"step": 1, "train/loss": 2.5}],
    "only NaN": [{"step": step, "train/loss": "NaN"} for step in range(1, 9)],
    "long names": [{"step": step, "n" * 300 + str(step): 1.0} for step in range(1, 5)],
    "escapes": [{"step": step, f"{_ESCAPES}/loss": step} for step in range(1, 5)],
}


async def press_all(pilot) -> None:
    """Every key once, on whichever page the keys before have led to."""
    for key in PRESSED:
        await pilot.press(key, *(["escape"] if key == "slash" else []))
    text = screen_text(pilot.app)
    assert pilot.app.is_running and "\x1b" not in text and "\u202e" not in text


@pytest.mark.parametrize("holds", _ODD)
async def test_every_key_on_odd_runs(tmp_path: Path, holds: str) -> None:
    run = make_run(tmp_path)
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in _ODD[holds]))
    async with CockpitApp(RunSession(run.path)).run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await press_all(pilot)


async def test_every_key_while_the_metrics_are_cut_and_replaced(tmp_path: Path) -> None:
    run = make_run(tmp_path, rows=50)
    async with CockpitApp(RunSession(run.path)).run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("plus", "shift+left")
        run.metrics.write_bytes(run.metrics.read_bytes()[:300])
        pilot.app.screen.look()
        await pilot.press("plus", "x", "s", "n", "shift+left")
        other = tmp_path / "other.jsonl"
        other.write_text('{"step":3,"mine/score":1}\n')
        other.replace(run.metrics)
        pilot.app.screen.look()
        await press_all(pilot)


async def test_every_key_on_ten_million_points(tmp_path: Path) -> None:
    session = RunSession(make_run(tmp_path).path)
    steps = np.arange(1, 10_000_001)
    # No rule of health is about this name: what is pressed here are the keys.
    session.series.extend(steps, {"mine/score": (None, 2 + math.pi / steps)})
    async with CockpitApp(session).run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await press_all(pilot)
