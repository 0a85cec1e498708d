"""No key of any screen brings it down, whatever the run holds, not even if it goes."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from looking import PRESSED, screen_text, until
from made_runs import make_run
from textual.pilot import Pilot
from textual.screen import ModalScreen
from textual.widgets import Input

from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.keys import KEYS, SCREENS
from lmm_tui.cockpit.screens.overlay_screen import OverlayScreen
from lmm_tui.engine.evaluation.job import EvaluationOutcome, Job, Score
from lmm_tui.engine.evaluation.records import Record, file_in_run, write_record
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir

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
    async with CockpitApp(Reader(run.path)).run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await press_all(pilot)


async def test_every_key_while_the_metrics_are_cut_and_replaced(tmp_path: Path) -> None:
    run = make_run(tmp_path, rows=50)
    async with CockpitApp(Reader(run.path)).run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("plus", "shift+left")
        run.metrics.write_bytes(run.metrics.read_bytes()[:300])
        pilot.app.screen.look()
        await pilot.press("plus", "x", "s", "right_square_bracket", "shift+left")
        other = tmp_path / "other.jsonl"
        other.write_text('{"step":3,"mine/score":1}\n')
        other.replace(run.metrics)
        pilot.app.screen.look()
        await press_all(pilot)


async def test_every_key_on_ten_million_points(tmp_path: Path) -> None:
    session = Reader(make_run(tmp_path).path)
    steps = np.arange(1, 10_000_001)
    # No rule of health is about this name: what is pressed here are the keys.
    session.series.extend(steps, {"mine/score": (None, 2 + math.pi / steps)})
    async with CockpitApp(session).run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await press_all(pilot)


_LONG = "小" * 20 + "n" * 300
_NAME = f"{_ESCAPES[:-1]}{'n' * 60}".replace("/", "")


def hostile_run(folder: Path) -> RunDir:
    """Escapes and long words wherever a run has words, and 2,000 metrics."""
    run = make_run(folder, _NAME, model=_ESCAPES, stage=_LONG, error=_ESCAPES)
    metrics = {f"m/{number}": 1.0 for number in range(2000)} | {_ESCAPES: 1.0, _LONG: 1.0}
    rows = [{"step": step, "time": 1.0, "tokens": step, **metrics} for step in (1, 2, 3)]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = {"time": 1.0, "step": 2, "kind": "alert", "message": _ESCAPES + _LONG}
    run.events.write_text((json.dumps(words | {"kind": _ESCAPES}) + "\n") * 3)
    sample = {"time": 1.0, "step": 2, "kind": "sample", "prompt": _LONG, "text": _ESCAPES + _LONG}
    run.samples.write_text((json.dumps(sample) + "\n") * 3)
    run.output.write_text(_ESCAPES + _LONG)
    run.config.write_text("[log]\nevery = 1\n")
    outcome = EvaluationOutcome((Score(_ESCAPES, _LONG, 0.5, None, None, 9, None),), 0, _LONG, {})
    job = Job(_LONG, (_ESCAPES,), "run", "cpu", None, None, False, None)
    record = Record(1.0, _NAME, 2, job, outcome)
    write_record(record, file_in_run(record, run), run)
    return run


async def press_all_there(pilot: Pilot, digit: str, place: str) -> None:
    """Every key of a screen; what it opens is left again."""
    app = pilot.app
    for key in [key for row in KEYS if row.where in (place, "list") for key in row.keys]:
        if getattr(app.screen, "PLACE", "") != place:
            await pilot.press(digit)
        await pilot.press(key)
        while isinstance(app.screen, ModalScreen | OverlayScreen) or isinstance(app.focused, Input):
            await pilot.press("escape")
    text = screen_text(app)
    assert app.is_running and "\x1b" not in text and "\u202e" not in text


@pytest.mark.parametrize("deleted", [False, True])
async def test_every_key_of_every_screen_on_hostile_words_and_a_run_that_goes(
    tmp_path: Path, deleted: bool
) -> None:
    run = hostile_run(tmp_path)
    app = CockpitApp(Reader(run.path))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, app.session.series.names)
        # How much of the name there is room for depends on whether the run is judged already.
        assert re.search(r"FINISHED  .*owned␇\[b.*…  100 / 100", screen_text(app))
        assert "  ␛[31m␛]0;owned" in screen_text(app)
        if deleted:
            shutil.rmtree(run.path)
            app.screen.look()
            await press_all(pilot)
        for digit, place, _ in SCREENS[1:-2]:
            await pilot.press(digit)
            await until(pilot, lambda place=place: getattr(app.screen, "PLACE", "") == place)
            await press_all_there(pilot, digit, place)
        assert run.path.exists() is not deleted
