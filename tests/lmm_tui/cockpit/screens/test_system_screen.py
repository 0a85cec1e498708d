"""The system screen shows this machine and the run's process, and reads only while it is seen."""

import os
import sys

import pytest
from fake_nvml import H100, FakeNvml, used_by
from fake_run import FakeRun
from looking import screen_text, until, until_read
from textual.containers import VerticalScroll
from textual.widgets import Static

from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.screens.system_screen import MachineRead, SystemScreen
from lmm_tui.engine.run.reader import Reader
from lmm_tui.i18n.number_format import NOTHING
from lmm_tui.runs import machine_stats
from lmm_tui.runs.machine_stats import Machine


@pytest.mark.parametrize("size", [(200, 50), (60, 15)])
async def test_it_shows_processors_memory_disk_and_the_process_of_the_run(run, size):
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=size) as pilot:
        await pilot.press("7")
        await until_read(pilot, "RAM")
        cpu = next(line for line in screen_text(app).splitlines() if line.strip().startswith("CPU"))
        assert cpu.split()[1] == NOTHING  # There is nothing yet to measure since.
        await until_read(pilot, "cores")
        text = every_line(app)
        for part in ("CPU", f"{os.cpu_count()} cores", "disk", "GPU", "network"):
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


@pytest.mark.parametrize("size", [(200, 50), (80, 24)])
@pytest.mark.parametrize("count", [1, 2, 16])
async def test_cards_are_shown_with_what_the_run_holds_of_them(run, monkeypatch, size, count):
    card = used_by(H100, **{f"pid_{os.getpid()}": 38_000_000_000})
    cards = [card | {"nvmlDeviceGetName": "NVIDIA \x1b[31mH100"}, *[H100] * (count - 1)]
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(*cards))
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=size) as pilot:
        await pilot.press("7")
        await until_read(pilot, "H100")
        app.screen.look()
        await until(pilot, lambda: "GPU memory" in every_line(app))  # The head of the table.
        text = every_line(app)
        for part in ("93%", "38.0 GB", "85.5 GB", "61 °C", "480", "throttled", "power cap"):
            assert part in text
        assert "\x1b" not in text
        if "GPU mem " in text:  # A table, whole at 80 columns, too.
            rows = [line for line in text.splitlines() if line.rstrip().endswith("power cap")]
            assert [row.split()[0] for row in rows] == [str(index) for index in range(count)]
        else:
            assert f"GPU {count - 1}" in text
        row = next(line for line in text.splitlines() if f"● {os.getpid():>8}" in line)
        assert row.split()[3:6] == ["0", "38.0", "GB"]  # Of card 0.


def every_line(app):
    """The whole view, also below the edge of the screen."""
    return app.screen.query_one("#gauges", Static).content.plain


async def test_a_run_of_another_machine_shows_what_it_reported(tmp_path):
    far = FakeRun(tmp_path / "far", host="gpu-box")
    far.dir.metrics.write_text(
        '{"step": 1, "time": 1, "system/gpu_percent": 97.0, "system/gpu_memory_gb": 71.5}\n'
    )
    app = CockpitApp(Reader(far.dir.path))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("7")
        await until_read(pilot, "far is on gpu-box, another machine")
        await until_read(pilot, "97.00")
        assert "71.50" in screen_text(app)
    far.close()


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


@pytest.mark.parametrize("_time", range(3))  # Textual closes what is left in any order.
async def test_what_is_read_while_the_app_ends_breaks_nothing(run, monkeypatch, _time):
    arrived = []

    def arrive(closed):
        if closed.id == "machine":
            arrived.append(closed.screen.post_message(MachineRead(reading)))

    monkeypatch.setattr(VerticalScroll, "on_unmount", arrive, raising=False)
    reading = Machine(run.dir.path.parent, None).read()
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("7")
        await until_read(pilot, "RAM")
        await pilot.press("1")
    assert len(arrived) == 1
