"""A person's own keys are bound and shown everywhere, and a wrong file is refused at the start."""

import pytest
from looking import screen_text, until, until_read

from lmm_tui.cli.main import USER_ERROR
from lmm_tui.cli.main import run as run_command
from lmm_tui.cockpit import keymap, keys
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.screens.dashboard import DashboardScreen
from lmm_tui.cockpit.screens.help import HelpScreen
from lmm_tui.engine.run.reader import Reader
from lmm_tui.terminal import capabilities
from lmm_tui.user_folders import user_settings


@pytest.fixture(autouse=True)
def _usual_keys_afterwards():
    yield
    keys.remap({})


def write(text):
    file = user_settings() / "keys.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


async def test_moved_keys_work_and_are_shown_and_the_old_ones_do_nothing(run):
    write('"go.runs" = "f4"\n[view]\ntheme = "f6,!"\n')
    keys.remap(keymap.load())
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=(120, 30)) as pilot:
        before = app.theme
        await pilot.press("t", "2")
        await pilot.pause()
        assert isinstance(app.screen, DashboardScreen) and app.theme == before
        await pilot.press("exclamation_mark")
        assert app.theme != before
        await pilot.press("f4")
        await until_read(pilot, "f4 runs")
        await pilot.press("question_mark", "slash", *"theme")
        await until_read(pilot, "f6 ")


def test_without_a_file_nothing_is_moved():
    assert keymap.load() == {}


@pytest.mark.parametrize(
    "text, words",
    [
        ('"run.paus" = "f5"', "did you mean run.pause?"),
        ('"zzz" = "f5"', "lists the names"),
        ('"run.pause" = 5', "keys in quotes"),
        ('"run.pause" = ""', "keys in quotes"),
        ('"run.pause" = "ctrl+z"', "ctrl+z never arrives"),
        ('"run.pause" = "f99"', "no key is called 'f99'"),
        ('"run.pause" = "p"', "p is both run.probe and run.pause"),
        ('"runs.open" = "q"', "q is both"),
        ('"go.runs" = "x"\n', "x is both go.runs and"),
        ("run.pause", "cannot be read as TOML"),
        ('"run.pause" = "f5"\n"run.pause" = "f6"', "cannot be read as TOML"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence_before_anything_starts(
    run, monkeypatch, capsys, text, words
):
    file = write(text)
    monkeypatch.setattr(capabilities, "can_host_app", lambda: True)
    assert run_command(["monitor", str(run.dir.path)]) == USER_ERROR
    said = capsys.readouterr().err
    assert words in said and str(file) in said and said.count("\n") == 1


def test_keys_may_change_places():
    write('"run.probe" = "c"\n"run.checkpoint" = "p"\n')
    assert keymap.load() == {"run.probe": ("c",), "run.checkpoint": ("p",)}


async def test_the_help_begins_with_the_screen_below_and_finds_keys(run):
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("2")
        await until_read(pilot, "first-words")
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await until_read(pilot, "Open this run")
        await pilot.press("slash", *"checksum")
        await until_read(pilot, "Verify every file")
        assert "Open this run" not in screen_text(app)
        await pilot.press("escape")
        await until_read(pilot, "Open this run")
        await pilot.press("escape")
        await until_read(pilot, "first-words")
