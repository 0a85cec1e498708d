"""The app wires a configuration to a run, and leaves the terminal when it is told to."""

import asyncio
import sys
import threading

import pytest
from fake_run import FakeRun
from looking import toasts, until

from lmm_tui.cockpit import themes
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.messages import Departure
from lmm_tui.cockpit.screens.configure import ConfigureScreen
from lmm_tui.cockpit.screens.dashboard import DashboardScreen
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.run.reader import Reader
from lmm_tui.errors import LmmError


@pytest.fixture
def run(tmp_path):
    made = FakeRun(tmp_path / "first-words")
    yield made
    made.close()


async def test_a_confirmed_configuration_is_started_off_the_ui_thread_and_shown(run):
    started = []

    def start(config):
        started.append((config.train.steps, threading.current_thread()))
        return Reader(run.dir.path)

    app = CockpitApp(config=resolve(), start=start, owned=True)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.pause()
        assert isinstance(app.screen, ConfigureScreen)
        app.screen.dismiss(resolve(assignments={"train.steps": 77}))
        await until(pilot, lambda: isinstance(app.screen, DashboardScreen))
    assert [steps for steps, _ in started] == [77]
    assert started[0][1] is not threading.main_thread()


async def test_a_refused_start_says_why_and_asks_again_with_what_was_typed():
    def refuse(config):
        raise LmmError("runs/demo: holds a run already; choose another --name")

    app = CockpitApp(config=resolve(), start=refuse)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await pilot.pause()
        first = app.screen
        first.dismiss(resolve(assignments={"name": "demo"}))
        await until(pilot, lambda: app.screen is not first and toasts(app))
        await until(pilot, lambda: isinstance(app.screen, ConfigureScreen))
        assert app.screen.config.name == "demo"
        assert "holds a run already" in toasts(app)[0]


async def test_leaving_the_configuration_quits():
    app = CockpitApp(config=resolve())
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.pause()
        app.screen.dismiss(None)
        await pilot.pause()
    assert app.return_value is Departure.QUIT


async def test_ctrl_c_leaves_the_configuration_even_while_typing():
    app = CockpitApp(config=resolve())
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.pause()
        await pilot.press("tab", "ctrl+c")
        await pilot.pause()
    assert app.return_value is Departure.QUIT


async def test_another_thread_or_a_signal_can_make_it_leave(run):
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test() as pilot:
        await pilot.pause()
        await asyncio.to_thread(app.leave_soon, Departure.HANGUP)
        await until(pilot, lambda: app.return_value is not None)
    assert app.return_value is Departure.HANGUP


async def test_a_signal_before_the_first_paint_is_not_forgotten(run):
    app = CockpitApp(Reader(run.dir.path))
    app.leave_soon(Departure.TERMINATE)
    async with app.run_test() as pilot:
        await pilot.pause()
    assert app.return_value is Departure.TERMINATE


async def test_training_is_started_only_after_the_first_paint(run):
    painted = []
    app = CockpitApp(Reader(run.dir.path), on_painted=lambda: painted.append(app.screen.is_mounted))
    async with app.run_test() as pilot:
        await until(pilot, lambda: painted)
    assert painted == [True]


async def test_a_dead_terminal_is_left(run):
    class DeadTerminal:
        hung_up = True

        def claim_prints(self):
            self.stdout = sys.stdout

    app = CockpitApp(Reader(run.dir.path), terminal=DeadTerminal())
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.return_value is not None)
    assert app.return_value is Departure.HANGUP


async def test_nothing_is_animated(run):
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test():
        assert app.animation_level == "none"


@pytest.mark.parametrize(
    "environment, theme",
    [
        ({}, "lmm-dark"),
        ({"COLORFGBG": "0;15"}, "lmm-light"),
        ({"COLORFGBG": "15;0"}, "lmm-dark"),
        ({"TEXTUAL_THEME": "nord", "COLORFGBG": "0;15"}, "nord"),
    ],
)
def test_the_theme_follows_wish_and_terminal(monkeypatch, environment, theme):
    for name in ("COLORFGBG", "TEXTUAL_THEME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert themes.preferred("", {"nord", "lmm-dark", "lmm-light"}) == theme


def test_an_unknown_theme_is_no_reason_to_fail(monkeypatch):
    monkeypatch.setenv("TEXTUAL_THEME", "no-such-theme")
    assert CockpitApp().theme == "lmm-dark"
