"""The header is on every screen, turns red for trouble and offers the cure by one key."""

import asyncio
import time

import pytest
from fake_run import FakeRun
from looking import cockpit, screen_text, until, until_read

from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.preferences import NO_PREFERENCES
from lmm_tui.cockpit.screens.configure import ConfigureScreen
from lmm_tui.cockpit.widgets.next_line import NextLine
from lmm_tui.cockpit.widgets.run_header import RunHeader
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.reader import Reader
from lmm_tui.runs.away_summary import LastSeen

SCREENS = {
    "1": "dashboard", "2": "runs", "3": "samples", "4": "evaluate", "5": "checkpoints", "6": "log",
    "7": "system", "8": "configure",
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    made = FakeRun(tmp_path / "runs" / "first-words")
    yield made
    made.close()


def diverge(run: FakeRun, at: int, until_step: int) -> None:
    for step in range(1, until_step + 1):
        run.metrics.write({"step": step, "train/loss": 40.0 if step >= at else 6.9, "tokens": step})
    run.write_status(step=until_step)


async def test_every_screen_has_all_screens_above_and_the_run_below(run):
    run.train(1, 60)
    async with cockpit(run, (160, 44), owned=False) as (app, pilot):
        for digit in SCREENS:
            below = app.screen
            await pilot.press(digit)
            await until(pilot, lambda: app.screen is not below or digit == "1")  # noqa: B023
            first = screen_text(app).splitlines()[0]
            assert all(f"{key} {name}" in first for key, name in SCREENS.items())
            if digit != "8":
                await until(pilot, lambda app=app: app.screen.query_one(RunHeader).display)
                second = screen_text(app).splitlines()[1]
                assert "RUNNING" in second and "first-words" in second and "60 / 1,000" in second


async def test_b_lowers_the_rate_and_goes_back_to_before_the_run_diverged(run):
    asked = []

    def answer(request):
        asked.append((request.command, request.args))
        return Reply(True, f"did {request.command}", 150)

    run.serve(answer)
    run.dir.config.write_text("[optim]\nlr = 0.003\n")
    for step in (20, 40, 140):
        (run.dir.checkpoints / f"step-{step:09d}").mkdir(parents=True)
    diverge(run, at=88, until_step=150)
    async with cockpit(run, (120, 36), owned=False) as (app, pilot):
        await until_read(pilot, "back to step 40, LR / 3 (3.0e-3 → 1.0e-3)")
        assert app.screen.query_one(RunHeader).has_class("-trouble")
        await pilot.press("b")
        await until(pilot, lambda: len(asked) == 2)
    (first, changes), (second, where) = asked
    assert (first, changes) == ("set", {"lr": pytest.approx(1e-3)})
    assert second == "rollback" and 40 < where["before"] <= 140


async def test_f_on_a_diverged_run_that_ended_sets_up_a_new_one_with_a_third_of_its_rate(run):
    run.dir.config.write_text("[optim]\nlr = 0.003\n[train]\nsteps = 150\n")
    diverge(run, at=88, until_step=150)
    run.write_status(state="stopped")
    async with cockpit(run, (120, 36), owned=False) as (app, pilot):
        await until_read(pilot, "new run with the same settings, LR / 3")
        await pilot.press("b")
        await until(pilot, lambda: isinstance(app.screen, ConfigureScreen))
        assert app.screen.config.optim.lr == pytest.approx(1e-3)
        assert app.screen.config.train.steps == 150


async def test_r_needs_a_checkpoint_and_asks_before_a_finished_run_is_trained_longer(
    run, monkeypatch
):
    resumed = []
    monkeypatch.setattr(
        "lmm_tui.cockpit.screens.run_actions.resume_detached",
        lambda of, steps: resumed.append(steps) or 7,
    )
    run.train(1, 60)
    run.write_status(state="finished", step=1000)
    async with cockpit(run, (120, 36), owned=False) as (app, pilot):
        await until_read(pilot, "nothing was saved")
        await pilot.press("R")
        await pilot.pause()
        assert not resumed
        (run.dir.checkpoints / "step-000001000").mkdir(parents=True)
        run.event(1000, "checkpoint", "step-000001000")
        app.screen.look()
        await until_read(pilot, "train longer: up to step 2,000")
        await pilot.press("R")
        await until_read(pilot, "is finished. Train on, up to step 2,000?")
        await pilot.press("y")
        await until(pilot, lambda: resumed == [2000])


async def test_a_healthy_live_run_offers_nothing(run):
    run.train(1, 60)
    async with cockpit(run, (120, 36)) as (app, pilot):
        await until_read(pilot, "healthy")
        assert not app.screen.query_one(NextLine).display


async def test_a_run_that_is_seen_again_says_what_happened_meanwhile(run):
    run.train(1, 260)
    habits = NO_PREFERENCES.with_seen(run.dir.path, LastSeen(time.time() - 7500, 100))
    app = CockpitApp(Reader(run.dir.path), habits=habits)
    async with app.run_test(size=(160, 40)) as pilot:
        await until_read(pilot, "While you were away (2 h 05 min): 160 steps")
        await pilot.press("escape")
        await asyncio.sleep(0)
        await pilot.pause()
        assert "While you were away" not in screen_text(app)
    assert app.habits.last_seen(run.dir.path).step == 260


@pytest.mark.parametrize(("screen", "dialog"), [("1", "q"), ("6", "q")])
async def test_the_header_goes_on_behind_a_dialog(run, screen, dialog):
    run.train(1, 60)
    async with cockpit(run, (160, 44), owned=False) as (app, pilot):
        await pilot.press(screen)
        await until_read(pilot, "60 / 1,000")
        await pilot.press(dialog)
        await until_read(pilot, "Detach")
        run.train(61, 90)
        await until_read(pilot, "90 / 1,000")
        assert "Detach" in screen_text(app)
