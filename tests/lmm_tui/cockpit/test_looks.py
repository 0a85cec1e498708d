"""Looks at whole screens: as plain text that a reviewer can read in a diff, and two in colour."""

import time
from dataclasses import replace

import pytest
from fake_run import FakeRun
from looking import screen_text, settled

from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.engine.run.reader import Reader


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run that looks the same on every machine at any time."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    for name in ("COLORFGBG", "TEXTUAL_THEME", "TERM"):
        monkeypatch.delenv(name, raising=False)
    made = FakeRun(tmp_path / "first-words", host="gpu-box", pid=4242)
    made.train(1, 600)
    yield made
    made.close()
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "size, page",
    [((200, 50), 1), ((120, 30), 1), ((120, 30), 2), *(((80, 24), page) for page in range(1, 6))],
    ids=lambda value: str(value) if isinstance(value, int) else "x".join(map(str, value)),
)
async def test_every_page(run, snapshot, size, page):
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=size) as pilot:
        await pilot.press(*["right_square_bracket"] * (page - 1))
        await settled(pilot)
        shown = screen_text(app)
    assert shown == snapshot


def test_the_quit_dialog_over_the_dashboard_in_colour(run, snap_compare):
    app = CockpitApp(Reader(run.dir.path), owned=True)
    assert snap_compare(app, terminal_size=(80, 24), press=["q"])


def test_a_failed_run_in_the_light_theme_in_colour(run, snap_compare, monkeypatch):
    monkeypatch.setenv("COLORFGBG", "0;15")
    run.write_status(state="failed", error="OutOfMemoryError: CUDA out of memory")
    run.dir.write_info(replace(run.info, started=run.status.heartbeat - 60))
    assert snap_compare(CockpitApp(Reader(run.dir.path)), terminal_size=(80, 24))
