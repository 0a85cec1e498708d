"""The dashboard says how a run is, sends what keys ask for, and survives whatever a run holds."""

import threading
import time

import pytest
from fake_run import FakeRun
from looking import (
    PRESSED,
    cockpit,
    do_by_palette,
    screen_text,
    settled,
    toasts,
    until,
    until_read,
    until_reserved,
)
from textual.widgets import Input

from lmm_tui.cockpit.keys import KEYS
from lmm_tui.cockpit.messages import Departure
from lmm_tui.cockpit.screens.dashboard import DashboardScreen
from lmm_tui.cockpit.screens.help import HelpScreen
from lmm_tui.cockpit.screens.page_layouts import pages_for
from lmm_tui.cockpit.screens.quit_dialog import QuitDialog
from lmm_tui.cockpit.screens.too_small import TooSmallScreen
from lmm_tui.cockpit.widgets.panel_grid import PanelGrid
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.runs.run_list import RunList

SIZES = [(200, 50), (120, 30), (80, 50), (80, 24), (60, 15)]
HOSTILE = "\x1b[31m\x1b]0;owned\x07[b]bold[/b] [@click=app.quit]x[/] \u202egnp \x9b2J"


@pytest.fixture
def run(tmp_path):
    made = FakeRun(tmp_path / "first-words")
    yield made
    made.close()


def answer_well(request):
    return Reply(True, f"did {request.command}", 7)


# What it shows


async def test_the_first_look_tells_name_state_model_progress_and_loss(run):
    run.train(1, 400)
    async with cockpit(run, (200, 50)) as (app, _):
        text = screen_text(app)
    for part in ("RUNNING", "first-words", "pretrain", "nano 0.49M", "cpu fp32", "400 / 1,000"):
        assert part in text
    for part in ("40%", "ETA 2 min 00 s", "loss", "random guess", "word frequencies", "bigrams"):
        assert part in text
    for part in (
        "perplexity",
        "learning rate",
        "clip rate",
        "entropy",
        "top-1 accuracy",
        "step 400",
    ):
        assert part in text


async def test_live_states_are_spelled_out(run):
    run.train(1, 20)
    async with cockpit(run) as (_, pilot):
        for state in ("starting", "running", "paused", "stopping"):
            run.write_status(state=state)
            await until_read(pilot, state.upper())


@pytest.mark.parametrize("state", ["finished", "stopped", "failed"])
async def test_ended_states_are_spelled_out_and_stay_on_screen(run, state):
    run.train(1, 20)
    async with cockpit(run) as (app, pilot):
        run.write_status(state=state, eta_s=None)
        await until(pilot, lambda: state.upper() in screen_text(app))
        assert "ran" in screen_text(app)
        assert app.is_running


async def test_a_run_whose_process_is_gone_is_crashed_and_says_how_to_go_on(tmp_path):
    run = FakeRun(tmp_path / "lost", pid=2**22 + 1)
    run.train(1, 20)
    (run.dir.checkpoints / "step-000000020").mkdir(parents=True)
    async with cockpit(run) as (app, _):
        assert "CRASHED" in screen_text(app)
        assert "R resume from step 20" in screen_text(app)
        assert "Nothing was recorded in this run." in screen_text(app)
    run.close()


async def test_an_event_takes_one_line_also_beside_a_scrollbar(run):
    run.train(1, 20)
    for step in range(30):
        run.event(step, "eval", "val loss 1.887, exact answers 0.03516 and so on and so forth")
    async with cockpit(run) as (app, _):
        text = app.screen.query_one("#events Static")
        assert text.size.height == 30 > app.screen.query_one("#events").size.height


async def test_a_silent_run_of_another_host_is_stale_and_says_for_how_long(tmp_path):
    run = FakeRun(tmp_path / "far", host="elsewhere", started=time.time() - 500)
    run.dir.write_status(run.status.__class__(state="running", heartbeat=time.time() - 83))
    async with cockpit(run) as (app, _):
        assert "STALE" in screen_text(app)
        assert "no heartbeat for 1 min 2" in screen_text(app)
    run.close()


async def test_a_failed_run_shows_its_last_words_and_advice(run):
    run.train(1, 20)
    trace = "Traceback (most recent call last):\n  File x\nOutOfMemoryError: CUDA out of memory"
    run.event(20, "error", "OutOfMemoryError: CUDA out of memory", "error", traceback=trace)
    run.write_status(state="failed", error="OutOfMemoryError: CUDA out of memory")
    async with cockpit(run) as (app, _):
        assert "OutOfMemoryError: CUDA out of memory" in screen_text(app)
        assert "Lower train.batch_size" in screen_text(app)


async def test_before_the_first_metric_it_tells_what_happens_and_what_comes_next(run):
    run.write_status(state="starting", activity="tokenising 43 %")
    async with cockpit(run, SIZES[-1]) as (app, pilot):
        for size in SIZES:
            await pilot.resize_terminal(*size)
            await until_read(pilot, "tokenising 43 %")
            await until_read(pilot, "Training starts next")
        run.write_status(state="running", activity="")
        run.train(1, 3)
        await until(pilot, lambda: "Training starts next" not in screen_text(app))
        await until_read(pilot, "3 / 1,000")


async def test_an_empty_probe_panel_tells_when_it_will_be_filled(run):
    async with cockpit(run, (200, 50)) as (app, _):
        assert "First probe at step 50" in screen_text(app)


async def test_lines_that_cannot_be_read_are_counted_in_the_header(run):
    run.train(1, 20)
    with run.dir.metrics.open("a") as file:
        file.write("{broken\nalso broken\n")
    async with cockpit(run) as (app, _):
        assert "2 unreadable lines" in screen_text(app)


async def test_an_alert_that_happens_is_announced_but_history_is_not(run):
    run.train(1, 20)
    run.event(20, "alert", "an old alert", "error")
    async with cockpit(run) as (app, pilot):
        run.event(21, "alert", "loss is NaN: lower the learning rate", "error")
        await until(pilot, lambda: toasts(app))
        assert toasts(app) == ["loss is NaN: lower the learning rate"]


async def test_a_run_whose_folder_is_away_for_a_while_is_followed_on(run):
    run.train(1, 20)
    away = run.dir.path.with_name("away")
    async with cockpit(run) as (app, pilot):
        await until(pilot, lambda: "20 / 1,000" in screen_text(app))
        run.dir.path.rename(away)
        await until(pilot, lambda: "not a run directory" in screen_text(app))
        assert "20 / 1,000" in screen_text(app)
        away.rename(run.dir.path)
        run.train(21, 24)
        await until(pilot, lambda: "24 / 1,000" in screen_text(app))
        assert "not a run directory" not in screen_text(app)


async def test_text_of_models_and_files_never_reaches_the_terminal_raw(tmp_path):
    run = FakeRun(tmp_path / "hostile", name=HOSTILE, stage=HOSTILE, model=HOSTILE)
    run.train(1, 60)
    run.sample(60, HOSTILE, HOSTILE)
    run.samples.write(
        {"step": 60, "kind": "token_losses", "tokens": [HOSTILE, 3, None], "losses": [1, "x", 2]}
    )
    run.event(60, "alert", HOSTILE, "error")
    run.write_status(activity=HOSTILE, error=HOSTILE)
    for size in (SIZES[0], SIZES[-1]):
        async with cockpit(run, size) as (app, pilot):
            for _ in pages_for(app.size):
                await pilot.press("right_square_bracket")
                await pilot.pause()
                text = screen_text(app)
                assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(text)
            run.write_status(state="failed")
            await until(pilot, lambda app=app: "FAILED" in screen_text(app))
            assert "\x1b" not in screen_text(app)
            run.write_status(state="running")
    run.close()


async def test_markup_in_a_sample_is_text(run):
    run.train(1, 10)
    run.sample(10, "[b]tell", "me[/b] [red]more")
    async with cockpit(run, (200, 50)) as (app, _):
        assert "[b]tellme[/b] [red]more" in screen_text(app)


async def test_nothing_is_painted_when_nothing_changed(run, monkeypatch):
    run.train(1, 300)
    async with cockpit(run, (200, 50)) as (app, pilot):
        await until_read(pilot, "healthy")
        await until_reserved(pilot)
        await settled(pilot)
        painted = []
        display = app._display
        monkeypatch.setattr(
            app, "_display", lambda *args: (painted.append(args), display(*args))[1]
        )
        for _ in range(3):
            run.write_status()  # A heartbeat is no news.
            app.screen.look()
            await pilot.pause()
        assert painted == []
        run.train(301, 301)
        app.screen.look()
        await until(pilot, lambda: painted)


# Size and pages


async def test_every_panel_of_every_page_is_inside_the_screen(run):
    run.train(1, 60)
    async with cockpit(run, SIZES[0]) as (app, pilot):
        tiles = app.screen.query_one(PanelGrid)
        for size in SIZES:
            await pilot.resize_terminal(*size)
            await until(pilot, lambda: app.screen.size == size)  # noqa: B023
            for number, page in enumerate(pages_for(app.size), 1):
                app.screen.action_open_page(number)
                await pilot.pause()
                shown = [child for child in tiles.children if child.display]
                assert {child.id for child in shown} == set(page.panels)
                area = sum(child.region.area for child in shown)
                assert area == tiles.region.area
                assert all(tiles.region.contains_region(child.region) for child in shown)
                assert all(child.region.height >= 3 for child in shown)


async def test_brackets_and_page_keys_go_round_the_pages(run):
    async with cockpit(run, (80, 24)) as (app, pilot):
        tiles = app.screen.query_one(PanelGrid)
        pages = list(pages_for(app.size))
        seen = [tiles.page]
        for key in ("]", "pagedown", "]", "]", "]"):
            await pilot.press(key)
            seen.append(tiles.page)
        assert seen == [*pages, pages[0]]
        await pilot.press("[")
        assert tiles.page == pages[-1]


async def test_sizes_may_change_at_any_time(run):
    run.train(1, 60)
    async with cockpit(run, (200, 50)) as (app, pilot):
        await pilot.press("tab", "enter")
        for size in ((80, 24), (60, 15), (30, 8), (59, 50), (200, 14), (120, 30), (200, 50)):
            await pilot.resize_terminal(*size)
            small = size[0] < 60 or size[1] < 15
            await until_read(pilot, "resize it to 60x15" if small else "60 / 1,000")
            assert isinstance(app.screen, TooSmallScreen) is small


async def test_enter_gives_the_focused_panel_the_page_and_escape_takes_it_back(run):
    run.train(1, 60)
    async with cockpit(run) as (app, pilot):
        tiles = app.screen.query_one(PanelGrid)
        await pilot.press("enter")
        assert "Select a panel with tab first" in toasts(app)[0]
        await pilot.press("tab", "tab", "enter")
        focused = app.focused
        assert [child for child in tiles.children if child.display] == [focused]
        await until(pilot, lambda: focused.size.width >= 110)
        await pilot.press("escape")
        assert len(tiles.page.panels) > 1


# What keys do


async def test_p_probes_and_then_samples(run):
    run.train(1, 20)
    run.serve(answer_well)
    async with cockpit(run) as (app, pilot):
        await pilot.press("p")
        await until(pilot, lambda: len(toasts(app)) == 2)
        assert run.asked == ["probe", "sample"]
        assert toasts(app) == ["did probe", "did sample"]


@pytest.mark.parametrize("key, command", [("c", "checkpoint"), ("v", "evaluate")])
async def test_a_key_sends_its_command_and_shows_the_answer(run, key, command):
    run.serve(answer_well)
    async with cockpit(run) as (app, pilot):
        await pilot.press(key)
        await until(pilot, lambda: toasts(app))
        assert run.asked == [command]
        assert toasts(app) == [f"did {command}"]


async def test_space_pauses_and_goes_on(run):
    def pause_or_go_on(request):
        run.write_status(state={"pause": "paused", "resume": "running"}[request.command])
        return Reply(True, request.command)

    run.serve(pause_or_go_on)
    async with cockpit(run) as (app, pilot):
        await pilot.press("space")
        await until(pilot, lambda: "PAUSED" in screen_text(app))
        assert "space resume" in screen_text(app)
        await pilot.press("space")
        await until(pilot, lambda: "RUNNING" in screen_text(app))
        assert run.asked == ["pause", "resume"]


async def test_a_refused_command_is_told_and_listed_with_its_reason(run):
    run.serve(lambda request: Reply(False, "still starting ([b]tokenising[/b]); try again soon"))
    async with cockpit(run, (200, 50)) as (app, pilot):
        await pilot.press("p")
        await until(pilot, lambda: toasts(app))
        assert toasts(app) == ["still starting ([b]tokenising[/b]); try again soon"]
        assert run.asked == ["probe"]
        await until(pilot, lambda: "command probe: still starting" in screen_text(app))


async def test_while_a_step_takes_long_keys_are_not_sent_twice_and_nothing_blocks(run):
    release = threading.Event()

    def slow(request):
        release.wait(120)
        return Reply(True, "at last")

    run.serve(slow)
    async with cockpit(run) as (app, pilot):
        await pilot.press("c", "c")
        await until(pilot, lambda: "queued: checkpoint" in screen_text(app))
        assert toasts(app) == ["Already queued; it runs between two steps"]
        await pilot.press("right_square_bracket")
        assert app.screen.query_one(PanelGrid).page != pages_for(app.size)[0]
        release.set()
        await until(pilot, lambda: "queued:" not in screen_text(app))
        assert run.asked == ["checkpoint"]


async def test_a_command_to_a_run_that_nobody_serves_says_so(run):
    async with cockpit(run) as (app, pilot):
        await pilot.press("c")
        await until(pilot, lambda: toasts(app))
        assert toasts(app) == ["the run is not active: nobody listens on its socket"]


@pytest.mark.usefixtures("forked_children")
async def test_e_writes_the_plots_in_a_process_of_its_own(run):
    run.train(1, 60)
    async with cockpit(run) as (app, pilot):
        await pilot.press("e")
        await until(pilot, lambda: "queued: export" in screen_text(app))
        await until(pilot, lambda: toasts(app))
        assert toasts(app)[0].startswith("wrote ")
        app.clear_notifications()  # They lie on the events.
        await until(pilot, lambda: "export wrote" in screen_text(app))
    assert {path.name for path in run.dir.plots.iterdir()} == {"training.png", "probes.png"}


@pytest.mark.usefixtures("forked_children")
async def test_export_of_a_run_without_values_says_why_and_the_screen_stays(run):
    async with cockpit(run) as (app, pilot):
        run.dir.info_file.unlink()
        await pilot.press("e")
        await until(pilot, lambda: toasts(app))
        assert app.is_running


@pytest.mark.parametrize("state", ["starting", "failed"])
async def test_no_key_breaks_a_run_without_a_single_value(run, state):
    """Those that only look are pressed by the tests of odd data."""
    run.serve(answer_well)
    run.write_status(state=state)
    rows = [row for row in KEYS if row.where in ("app", "dashboard") and row.id != "run.export"]
    rows = [row for row in rows if row.keys[0] not in PRESSED]
    leaving = [row for row in rows if "quit" in row.action]
    async with cockpit(run, (80, 24)) as (app, pilot):
        for row in [row for row in rows if row not in leaving] + leaving:
            for key in row.keys:
                await pilot.press(key)
                await pilot.pause()
                if not isinstance(app.screen, DashboardScreen) and row not in leaving:
                    await pilot.press("escape")


async def test_question_mark_shows_the_help_and_hides_it(run):
    async with cockpit(run) as (app, pilot):
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        assert "Write a checkpoint" in screen_text(app)
        await pilot.press("question_mark")
        assert isinstance(app.screen, DashboardScreen)


async def test_the_palette_offers_the_keys_and_does_them(run):
    run.serve(answer_well)
    async with cockpit(run) as (_, pilot):
        await do_by_palette(pilot, "validate", "Measure the validation loss")
        await until(pilot, lambda: run.asked == ["evaluate"])


async def test_in_chinese_the_palette_finds_a_command_by_its_english_name_too(in_chinese, run):
    run.serve(answer_well)
    async with cockpit(run) as (_, pilot):
        await do_by_palette(pilot, "validate", "立即测量验证损失")
        await until(pilot, lambda: run.asked == ["evaluate"])


async def test_commands_are_found_while_the_list_of_runs_is_read(run, monkeypatch):
    go_on, read = threading.Event(), RunList.read

    def late(runs):
        go_on.wait()
        return read(runs)

    monkeypatch.setattr(RunList, "read", late)
    async with cockpit(run) as (app, pilot):
        try:
            await pilot.press("ctrl+p")
            await until(pilot, lambda: isinstance(app.focused, Input))
            for letter in "valid":
                await pilot.press(letter)
                await pilot.pause(0.05)
            await until_read(pilot, "Measure the validation loss")
        finally:
            go_on.set()
        await pilot.press(*["backspace"] * 5, *"first")
        await until_read(pilot, "first-words  ")


async def test_a_search_of_the_palette_that_finds_nothing_leads_to_the_help(run):
    async with cockpit(run) as (app, pilot):
        await do_by_palette(pilot, "zzzz", "Show all keys")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))


async def test_t_changes_between_dark_and_light(run):
    async with cockpit(run) as (app, pilot):
        before = app.current_theme.dark
        await pilot.press("t")
        assert app.current_theme.dark is not before


# Leaving


@pytest.mark.parametrize("key, departure", [("d", Departure.DETACH), ("s", Departure.STOP)])
async def test_the_dialog_leaves_as_it_is_told(run, key, departure):
    async with cockpit(run) as (app, pilot):
        await pilot.press("q")
        await pilot.pause()
        assert isinstance(app.screen, QuitDialog)
        await pilot.press(key)
        await pilot.pause()
    assert app.return_value is departure


async def test_escape_stays(run):
    async with cockpit(run) as (app, pilot):
        await pilot.press("q", "escape")
        await pilot.pause()
        assert isinstance(app.screen, DashboardScreen)
        assert app.is_running


@pytest.mark.parametrize("keys", [("q", "q"), ("ctrl+c", "ctrl+c"), ("q", "ctrl+c")])
async def test_a_second_request_in_a_row_always_leaves(run, keys):
    async with cockpit(run) as (app, pilot):
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
    assert app.return_value is Departure.DETACH


async def test_leaving_does_not_wait_for_a_command_that_hangs(run):
    released, answered = threading.Event(), threading.Event()

    def hang(request):
        released.wait(120)
        answered.set()
        return Reply(True, "")

    run.serve(hang)
    async with cockpit(run) as (app, pilot):
        await pilot.press("p")
        await until(pilot, lambda: run.asked)
        await pilot.press("q", "q")
    assert app.return_value is Departure.DETACH
    assert not answered.is_set()
    released.set()


@pytest.mark.parametrize("state", ["finished", "stopped", "failed"])
async def test_an_ended_run_is_left_at_once(run, state):
    run.write_status(state=state)
    async with cockpit(run) as (app, pilot):
        await pilot.press("q")
        await pilot.pause()
    assert app.return_value is Departure.QUIT


async def test_a_terminal_that_is_too_small_can_still_be_left(run):
    async with cockpit(run, (40, 10)) as (app, pilot):
        await pilot.press("q")
        await pilot.pause()
    assert app.return_value is Departure.DETACH


async def test_a_covered_dashboard_does_not_look_at_the_run(run):
    async with cockpit(run) as (app, pilot):
        dashboard = app.screen
        await pilot.press("question_mark")
        await pilot.pause()
        looks = []
        dashboard.session.poll = lambda *args: looks.append(args)
        await pilot.pause(0.6)
        assert looks == []
        del dashboard.session.poll
        run.write_status(state="paused")
        await pilot.press("escape")
        await until(pilot, lambda: "PAUSED" in screen_text(app))
