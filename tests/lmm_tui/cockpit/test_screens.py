"""Screens are reached by digits, names and clicks, left by escape, and look only while on top."""

import json
import re
import sys
import threading

import pytest
from fake_run import FakeRun
from looking import do_by_palette, screen_text, settled, toasts, until, until_read
from textual.widgets import Input

from lmm_tui.cockpit import preferences
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.keys import SCREENS, SHORT_NAMES
from lmm_tui.cockpit.messages import Departure
from lmm_tui.cockpit.preferences import Preferences
from lmm_tui.cockpit.screens.base_screen import BaseScreen
from lmm_tui.cockpit.screens.configure import ConfigureScreen
from lmm_tui.cockpit.screens.dashboard import DashboardScreen
from lmm_tui.cockpit.screens.quit_dialog import QuitDialog
from lmm_tui.cockpit.screens.runs_screen import RunsScreen
from lmm_tui.cockpit.screens.screen_registry import REGISTERED
from lmm_tui.cockpit.widgets.filter_input import FilterInput
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs
from lmm_tui.cockpit.widgets.table import Table
from lmm_tui.engine.run.reader import Reader

SIZES = [(200, 50), (60, 15)]


def open_on(run, **more):
    return CockpitApp(Reader(run.dir.path), **more)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_every_digit_opens_its_screen_and_escape_goes_back(run, size):
    app = open_on(run)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        for digit, name, _ in SCREENS:
            await pilot.press(digit)
            await pilot.pause()
            if name in REGISTERED:
                assert isinstance(app.screen, BaseScreen) and name == app.screen.PLACE
                strip = screen_text(app).splitlines()[0]
                assert any(f"{digit} {called}" in strip for called in (name, SHORT_NAMES.get(name)))
                widths = {len(line) for line in screen_text(app).splitlines()}
                assert max(widths) <= size[0]
            elif name == "configure":
                assert isinstance(app.screen, ConfigureScreen)
            await pilot.press("escape")
            await pilot.pause()
            assert isinstance(app.screen, DashboardScreen)


async def test_at_80_columns_every_screen_says_what_the_digits_open(run):
    app = open_on(run)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        for digit, name, _ in SCREENS:
            if name in REGISTERED:
                await pilot.press(digit)
                await until(pilot, lambda name=name: name == getattr(app.screen, "PLACE", ""))
                await settled(pilot)
                strip = screen_text(app).splitlines()[0]
                for called in ("1 dash", "2 runs", "3 samp", "4 eval", "6 log", "8 new"):
                    assert called in strip
                assert "…" not in strip.partition("8 new")[0] and len(strip) <= 80


@pytest.mark.parametrize("facts, named", [(14, 5), (20, 4), (30, 2), (60, 1)])
def test_at_60_columns_as_many_screens_have_names_as_the_facts_leave_room_for(facts, named):
    strip = ScreenTabs("runs")
    strip.show("." * facts)
    line = strip.compose_line(60).plain
    assert "2 runs" in line and len(line) == 60
    assert len(re.findall("[1-8] [a-z]+", line)) == named


async def test_no_digit_but_its_own_waits_for_the_form_to_be_imported(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmm_tui.cockpit.screens.configure", None)
    app = open_on(run)
    async with app.run_test(size=(60, 15)) as pilot:
        await pilot.press("7")
        await pilot.pause()
        assert isinstance(app.screen, BaseScreen) and app.screen.PLACE == "system"


async def test_a_digit_on_one_screen_opens_the_next_and_only_one_lies_on_the_dashboard(run):
    app = open_on(run)
    async with app.run_test(size=(120, 30)) as pilot:
        for _ in range(2):
            for digit, name, _ in SCREENS:
                if name in REGISTERED:
                    await pilot.press(digit)
                    await pilot.pause()
        assert len(app.screen_stack) == 3
        await pilot.press("1")
        await pilot.pause()
        assert isinstance(app.screen, DashboardScreen) and len(app.screen_stack) == 2


async def test_a_digit_typed_into_a_field_is_text(run):
    app = open_on(run)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("2")
        await until_read(pilot, "first-words")
        await pilot.press("slash", "1", "8")
        await pilot.pause()
        assert isinstance(app.screen, RunsScreen)
        assert app.screen.query_one(Input).value == "18"


async def test_digits_leave_the_form_and_what_was_filled_in_is_there_again(run):
    app = open_on(run)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("8")
        await until(pilot, lambda: isinstance(app.screen, ConfigureScreen))
        app.screen.field("data.seq_len").editor.focus()
        await pilot.press("end", "1", "2")  # In a text they are digits.
        await until(pilot, lambda: app.screen.config.data.seq_len == 25612)
        app.screen.field("stage").editor.focus()
        await pilot.press("2")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        await pilot.press("8")
        await until(pilot, lambda: isinstance(app.screen, ConfigureScreen))
        assert app.screen.config.data.seq_len == 25612
        await pilot.press("1")
        await until(pilot, lambda: isinstance(app.screen, DashboardScreen))


async def test_a_key_that_has_moved_is_told_once(run):
    app = open_on(run)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await pilot.press("n", "n")
        await until(pilot, lambda: toasts(app))
        assert toasts(app) == ["next page is on ] now"]
        await pilot.press("2", "d")  # It deletes now, and asks: newcomers need not be told.
        assert [said for said in toasts(app) if "is on" in said] == ["next page is on ] now"]
        assert app.habits.told == ("view.next",)


async def test_the_palette_opens_a_run_and_finds_a_metric_and_a_setting(run):
    FakeRun(run.dir.path.parent / "other", state="finished").close()
    run.train(1, 3)
    app = open_on(run)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("colon")
        await until(pilot, lambda: app.screen.query(Input))
        await pilot.press(*"lr 1e-4")
        await until_read(pilot, "→ 0.0001")
        await pilot.press(*["backspace"] * 7, *"train/ppl")
        await until_read(pilot, "last value")
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.query(FilterInput))
        assert app.screen.query_one(FilterInput).value == "train/ppl"
        await pilot.press("escape")
        await do_by_palette(pilot, "other", "finished")
        await until(pilot, lambda: app.session.run_dir.name == "other")


async def test_a_click_on_a_name_opens_its_screen(run):
    app = open_on(run)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("2")
        await pilot.pause()
        await pilot.click(offset=(screen_text(app).index("1 dashboard") + 2, 0))
        await pilot.pause()
        assert isinstance(app.screen, DashboardScreen)


async def test_the_palette_knows_every_screen(run):
    app = open_on(run)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.pause()
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert {name.capitalize() for _, name, _ in SCREENS} <= set(titles)
        await do_by_palette(pilot, "runs", "All runs")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))


async def test_a_covered_screen_neither_looks_itself_nor_lets_the_dashboard_look(run, monkeypatch):
    looks = []
    real_look = RunsScreen.look

    def look(screen):
        looks.append("runs")
        real_look(screen)

    monkeypatch.setattr(RunsScreen, "look", look)
    monkeypatch.setattr(RunsScreen, "LOOK_EVERY_S", 0.01)
    app = open_on(run)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("2")
        await until_read(pilot, "first-words")
        await until(pilot, lambda: len(looks) > 2)
        dashboard = app.dashboard
        dashboard.session.poll = lambda *args: looks.append("dashboard")
        await pilot.press("question_mark")
        await pilot.pause()
        looks.clear()
        await pilot.pause(0.4)
        assert looks == []
        del dashboard.session.poll


async def test_what_happened_meanwhile_is_on_the_dashboard_when_it_comes_back(run):
    app = open_on(run)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("2")
        await until_read(pilot, "first-words")
        run.write_status(state="paused", step=21)
        run.event(21, "alert", "loss is NaN", "error")
        await pilot.press("escape")
        await until_read(pilot, "PAUSED")
        await until(pilot, lambda: "loss is NaN" in toasts(app))


async def test_without_a_run_the_list_of_runs_is_opened_and_says_what_to_do(tmp_path):
    app = CockpitApp(runs_dir=tmp_path / "none")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_read(pilot, "No runs in")
        assert "8 configures" in screen_text(app)
        await pilot.press("1", "escape", "q")
        await pilot.pause()
    assert app.return_value is Departure.QUIT


async def test_a_run_that_appears_can_be_opened_from_the_list(tmp_path):
    app = CockpitApp(runs_dir=tmp_path)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_read(pilot, "No runs in")
        run = FakeRun(tmp_path / "late")
        run.train(1, 20)
        app.screen.look()
        await until_read(pilot, "late")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, DashboardScreen))
        assert "late" in screen_text(app)
    run.close()


async def test_another_run_takes_the_place_of_the_one_that_was_open(run, tmp_path):
    other = FakeRun(tmp_path / "runs" / "chat", state="finished", stage="sft", started=1.0)
    other.train(1, 20)
    app = open_on(run)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("2")
        await until_read(pilot, "chat")
        await pilot.press("end", "enter")
        await until(pilot, lambda: isinstance(app.screen, DashboardScreen))
        await until_read(pilot, "healthy  chat")
        assert app.session.run_dir.path == other.dir.path
        assert len(app.screen_stack) == 2
        await pilot.press("2")
        await pilot.pause()
        await pilot.press("home", "enter")
        await until_read(pilot, "healthy  first-words")
    other.close()


async def test_quitting_asks_about_the_run_that_trains_here_whichever_is_shown(run, tmp_path):
    other = FakeRun(tmp_path / "runs" / "chat", state="finished", started=1.0)
    other.train(1, 20)
    app = open_on(run, owned=True)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("2")
        await until_read(pilot, "chat")
        await pilot.press("end", "enter")
        await until_read(pilot, "healthy  chat")
        await pilot.press("q")
        await pilot.pause()
        assert isinstance(app.screen, QuitDialog)
        await pilot.press("escape")
        run.write_status(state="finished")
        await pilot.press("q")
        await pilot.pause()
    assert app.return_value is Departure.QUIT
    other.close()


async def test_a_second_run_is_started_in_a_process_of_its_own(run, tmp_path, monkeypatch):
    other = FakeRun(tmp_path / "runs" / "second")
    started = []

    def start(config):
        started.append((config.name, threading.current_thread()))
        return Reader(other.dir.path)

    monkeypatch.setattr("lmm_tui.runs.detached.start_and_open", start)
    app = open_on(run, owned=True)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("8")
        await until(pilot, lambda: isinstance(app.screen, ConfigureScreen))
        assert app.screen.config.runs_dir == str(tmp_path / "runs")
        app.screen.dismiss(app.screen.config.model_copy(update={"name": "second"}))
        await until_read(pilot, "RUNNING  second")
        assert app.dashboard.owned is False
    assert [name for name, _ in started] == ["second"]
    assert started[0][1] is not threading.main_thread()
    other.close()


# Habits


async def test_screen_and_theme_are_found_again(run):
    app = open_on(run)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("t", "2")
        await until_read(pilot, "first-words")
    preferences.keep(app.habits)
    kept = preferences.load()
    assert (kept.screen, kept.theme) == ("runs", "lmm-light")
    assert kept.last_seen(run.dir.path).step == run.status.step
    again = open_on(run, habits=preferences.load())
    async with again.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: isinstance(again.screen, RunsScreen))
        assert again.theme == "lmm-light"
        await until(pilot, lambda: again.screen.query_one(Table).rows)


@pytest.mark.parametrize(
    "kept",
    [
        "",
        "[",
        "null",
        '"runs"',
        '{"screen": 3}',
        '{"screen": "no such", "theme": "no such"}',
        '{"x": 1}',
    ],
)
async def test_habits_that_cannot_be_read_mean_the_defaults(run, tmp_path, kept):
    file = tmp_path / "state.json"
    file.write_text(kept)
    app = open_on(run, habits=preferences.load(file))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert isinstance(app.screen, DashboardScreen)
        assert app.theme == "lmm-dark"


async def test_a_theme_that_nobody_chose_is_not_kept(run):
    app = open_on(run)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
    assert app.habits.theme == ""


def test_habits_that_cannot_be_kept_are_no_error(tmp_path):
    (tmp_path / "file").touch()
    preferences.keep(Preferences("runs"), tmp_path / "file" / "state.json")
    preferences.keep(Preferences("runs"), tmp_path / "state.json")
    assert json.loads((tmp_path / "state.json").read_text())["screen"] == "runs"


async def test_a_run_that_starts_is_seen_before_any_habit(run):
    app = open_on(run, owned=True, habits=Preferences("runs"))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert isinstance(app.screen, DashboardScreen)


async def test_news_never_covers_a_question_and_is_told_after_it(run):
    app = open_on(run)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("question_mark")
        await until_read(pilot, "esc close")
        app.notify("held-out loss rises", timeout=60)
        await settled(pilot)
        assert "held-out loss rises" not in screen_text(app)
        await pilot.press("escape")
        await until_read(pilot, "held-out loss rises")
