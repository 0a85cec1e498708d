"""Looks at the screens beside the dashboard, as plain text that a reviewer can read in a diff.

The system screen has nothing that stays the same, the help changes with every key: their own
tests say what is on them.
"""

import os
import time
from pathlib import Path

import pytest
from fake_run import FakeRun
from looking import screen_text, settled, strips, until, until_read

from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.engine.checkpoints.checkpoint_files import FORMAT, pin, seal
from lmm_tui.engine.run.checkpoint_names import checkpoint_name
from lmm_tui.engine.run.reader import Reader

NOW = 1_800_000_000.0
SIZES = [(200, 50), (80, 24)]
BEST = "6.126"
"""Of the last run to be read: the list has all there is once it shows this."""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs that look the same at any time; paths are on the screens, so they are relative."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "time", lambda: NOW)
    for name in ("COLORFGBG", "TEXTUAL_THEME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", "settings")
    runs = Path("runs")
    ended = FakeRun(runs / "base", state="finished", host="box", pid=7, started=NOW - 90_000)
    ended.write_status(step=1000, loss=2.5, val_loss=2.75, tokens_per_s=18_000.0)
    ended.dir.note_file.write_text("the one to start from\n")
    failed = FakeRun(
        runs / "小兔子", state="failed", host="box", pid=7, stage="sft", started=NOW - 4000
    )
    failed.write_status(step=120, error="OutOfMemoryError: CUDA out of memory")
    live = FakeRun(runs / "chat", host="box", pid=7, stage="sft", parent="base", started=NOW - 700)
    live.train(1, 60)
    live.dir.config.write_text("[log]\nkeep = 2\nkeep_best = 1\nkeep_every = 0\n")
    for step, val_loss in ((20, 3.5), (40, 3.1), (50, 3.3), (60, 3.2)):
        path = live.dir.checkpoints / checkpoint_name(step)
        path.mkdir(parents=True)
        (path / "model.safetensors").write_bytes(bytes(2_000_000))
        seal(path, {"format": FORMAT, "step": step, "tokens": step * 4096, "val_loss": val_loss})
        os.utime(path / "state.json", (NOW - 600 + step, NOW - 600 + step))
    pin(live.dir.checkpoints / checkpoint_name(20))
    live.dir.output.write_text(
        "".join(f"INFO step {step}\n" for step in range(60)) + "WARNING: hot"
    )
    yield live
    for made in (ended, failed, live):
        made.close()


async def complete(pilot):
    """Wait until nothing is read any more, and all that was is painted."""
    await until(pilot, lambda: not getattr(pilot.app.screen, "busy", False))
    await settled(pilot)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(
    "keys, awaited",
    [
        (["2"], "base → chat"),
        (["2", "down", "d"], "Move it to the trash"),
        (["5"], "pinned"),
        (["5", "f"], "Configure it now"),
        (["6"], "WARNING: hot"),
        (["L"], "Preview the changes"),
    ],
    ids=["runs", "delete", "checkpoints", "fork", "log", "change"],
)
async def test_a_screen(run, snapshot, size, keys, awaited):
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=size) as pilot:
        await pilot.press(keys[0])
        await until_read(pilot, {"2": BEST, "5": "pinned"}.get(keys[0], awaited))
        await pilot.press(*keys[1:])
        await until_read(pilot, awaited)
        await complete(pilot)
        lines = strips(app)
        for dialog in app.screen.query("#dialog, #help"):
            # What lies behind it has pictures of its own. Cut by cells, for a wide character there
            # would move a cut by characters.
            lines = [line.crop(dialog.region.x, dialog.region.right) for line in lines]
            lines = lines[dialog.region.y : dialog.region.bottom]
    assert "\n".join(line.text.rstrip() for line in lines) == snapshot


async def test_the_list_of_runs_in_chinese_keeps_its_columns(in_chinese, run, snapshot):
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until_read(pilot, BEST)
        await complete(pilot)
        assert screen_text(app) == snapshot


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_list_of_runs_in_colour(run, snap_compare, size):
    async def open_list(pilot):
        await pilot.press("2")
        await until_read(pilot, BEST)
        await complete(pilot)

    app = CockpitApp(Reader(run.dir.path))
    assert snap_compare(app, terminal_size=size, run_before=open_list)
