"""L changes a live run: old and new are shown, a second enter confirms, the answer is told."""

import pytest
from fake_run import FakeRun
from looking import screen_text, toasts, until, until_read
from textual.widgets import Input

from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.screens.dashboard import DashboardScreen
from lmm_tui.cockpit.screens.live_settings import SETTINGS, LiveSettings
from lmm_tui.engine.config.options import lookup
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.training.commands import SETTINGS as TAKEN

CONFIG = "[optim]\nlr = 0.001\nclip = 1.0\n[log]\nevery = 1\nval_every = 50\nprobe_every = 50\n"


@pytest.fixture
def run(tmp_path):
    made = FakeRun(tmp_path / "runs" / "first-words")
    made.train(1, 20)
    made.dir.config.write_text(CONFIG)
    yield made
    made.close()


def test_the_form_has_what_the_loop_takes():
    assert {setting.name: setting.key for setting in SETTINGS} == TAKEN
    for setting in SETTINGS:
        lookup(RunConfig(), setting.key)


async def test_old_and_new_are_shown_and_a_second_enter_sends_them(run):
    sent = []

    def answer(request):
        sent.append((request.command, request.args))
        return Reply(True, "lr 0.001 → 0.0005, log_every 1 → 10", 21)

    run.serve(answer)
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("L")
        await until_read(pilot, "learning rate")
        assert app.screen.query_one("#clip", Input).value == "1"
        await pilot.press("ctrl+a", "ctrl+k", *"5e-4", "down", "down", "ctrl+a", "ctrl+k", *"10")
        await pilot.press("enter")
        await until_read(pilot, "Apply after the current step")
        assert "learning rate  0.001 → 0.0005" in screen_text(app)
        assert "log every  1 → 10" in screen_text(app)
        assert sent == []
        await pilot.press("enter")
        await until(pilot, lambda: toasts(app) == ["lr 0.001 → 0.0005, log_every 1 → 10"])
    assert sent == [("set", {"lr": 0.0005, "log_every": 10})]


async def test_a_long_number_is_shown_short_and_not_sent_as_it_is_shown(run):
    run.dir.config.write_text("[optim]\nlr = 0.00519615\nclip = 1\n[log]\nval_every = 1234567\n")
    run.serve(lambda request: Reply(True, "changed"))
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("L")
        await until_read(pilot, "learning rate")
        values = {field.id: field.value for field in app.screen.query(Input)}
        assert (values["lr"], values["clip"], values["val_every"]) == ("0.005196", "1", "1234567")
        await pilot.press("enter", "enter")
        assert isinstance(app.screen, LiveSettings)
        await pilot.press("ctrl+a", "ctrl+k", *"5e-5", "enter")
        await until_read(pilot, "learning rate  0.005196 → 5e-5")
        await pilot.press("escape")
    assert run.asked == []


@pytest.mark.parametrize(
    "text, words",
    [
        ("-1", "must be greater than 0"),
        ("much", "is not a number"),
        ("inf", "greater than 0"),
        ("nan", "greater than 0"),
    ],
)
async def test_a_wrong_value_is_told_and_not_sent(run, text, words):
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=(60, 15)) as pilot:
        await pilot.press("L", "ctrl+a", "ctrl+k", *text, "enter", "enter")
        await pilot.pause()
        assert isinstance(app.screen, LiveSettings)
        assert words in str(app.screen.query_one("#verdict").content)


async def test_escape_and_no_change_send_nothing(run):
    run.serve(lambda request: Reply(True, "changed"))
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("L", "enter", "enter")
        await pilot.pause()
        assert isinstance(app.screen, LiveSettings)
        await pilot.press("ctrl+a", "ctrl+k", "2", "enter", "escape")
        await pilot.pause()
        assert isinstance(app.screen, DashboardScreen)
    assert run.asked == []


async def test_a_run_that_has_ended_cannot_be_changed(run):
    run.write_status(state="finished")
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("L")
        await pilot.pause()
        assert isinstance(app.screen, DashboardScreen)
        assert "This run has ended" in toasts(app)[0]
