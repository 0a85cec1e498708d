"""The system screen shows this machine and the run's process, and reads only while it is seen."""

import os

import pytest
from fake_run import FakeRun
from looking import screen_text, until, until_read

from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.screens.system_screen import SystemScreen
from lmm_tui.engine.run.reader import Reader
from lmm_tui.runs import machine_stats
from lmm_tui.runs.machine_stats import Card, Machine


@pytest.mark.parametrize("size", [(200, 50), (60, 15)])
async def test_it_shows_processors_memory_disk_and_the_process_of_the_run(run, size):
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=size) as pilot:
        await pilot.press("7")
        await until_read(pilot, "RAM")
        cpu = next(line for line in screen_text(app).splitlines() if line.strip().startswith("CPU"))
        assert "%" not in cpu and "–" in cpu  # There is nothing yet to measure since.
        await until_read(pilot, "cores")
        text = screen_text(app)
        for part in ("CPU", f"{os.cpu_count()} cores", "disk", "GPU", "process"):
            assert part in text
        assert max(map(len, text.splitlines())) <= size[0]
        if size[0] == 200:
            assert f"pid {os.getpid()}" in text


async def test_nothing_is_read_once_another_screen_is_on_top(run, monkeypatch):
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("7")
        await until_read(pilot, "RAM")
        reads = []
        monkeypatch.setattr(Machine, "read", lambda self: reads.append(1))
        monkeypatch.setattr(SystemScreen, "LOOK_EVERY_S", 0.01)
        await pilot.press("escape")
        await pilot.pause(0.2)
        assert reads == []


async def test_cards_are_shown_with_what_the_run_holds_of_them(run, monkeypatch):
    card = Card("NVIDIA \x1b[31mH100", 0.93, 40 * 10**9, 80 * 10**9, 61.0, 480.0, 38 * 10**9)
    monkeypatch.setattr(Machine, "_cards", lambda self: (card, card))
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("7")
        await until_read(pilot, "GPU 1")
        text = screen_text(app)
        for part in ("93%", "61 °C", "480 W", "40.0 GB of 80.0 GB, the run 38.0 GB"):
            assert part in text
        assert "\x1b" not in text


async def test_a_run_elsewhere_or_none_at_all_is_said(tmp_path):
    far = FakeRun(tmp_path / "far", host="gpu-box")
    app = CockpitApp(Reader(far.dir.path))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("7")
        await until_read(pilot, "far is on gpu-box, another machine")
    far.close()
    app = CockpitApp(runs_dir=tmp_path / "none")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("7")
        await until_read(pilot, "no run is open")
        await until(pilot, lambda: isinstance(app.screen, SystemScreen))


def test_a_process_that_ends_while_it_is_watched_is_no_error(monkeypatch, tmp_path):
    seen = Machine(tmp_path / "not" / "there", os.getpid())
    assert seen.read().process is not None
    gone = machine_stats.psutil.NoSuchProcess(os.getpid())

    def vanish(*_):
        raise gone

    monkeypatch.setattr(machine_stats.psutil.Process, "num_threads", vanish)
    assert seen.read().process is None
    assert Machine(tmp_path, 2**22 + 1).read().process is None
