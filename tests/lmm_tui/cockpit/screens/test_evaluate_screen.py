"""Evaluation in place: what is asked, how far it is, what came of it, beside steps and runs."""

import threading
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from looking import screen_text, settled, steady_text, toasts, until, until_read
from processes import until as until_ended

from lmm_tui.charts.braille import ASCII, BRAILLE
from lmm_tui.charts.chart import Chart
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.keys import KEYS
from lmm_tui.cockpit.score_table import interval
from lmm_tui.cockpit.screens.dashboard import DashboardScreen
from lmm_tui.cockpit.screens.dialogs import AskDialog, ChoiceDialog
from lmm_tui.cockpit.screens.evaluate_screen import EvaluateScreen
from lmm_tui.cockpit.screens.evaluation_results import EvaluationResults
from lmm_tui.cockpit.screens.pick_dialog import PickDialog
from lmm_tui.cockpit.widgets.table import Table
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.evaluation.builtin_tasks import question_count
from lmm_tui.engine.evaluation.job import EvaluationOutcome, EvaluationProgress, Job, Score
from lmm_tui.engine.evaluation.records import Record, file_in_run, read_records, write_record
from lmm_tui.engine.run.checkpoint_names import checkpoint_name
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.training.run_host import EngineHost
from lmm_tui.i18n.number_format import age

SIZES = [(120, 30), (80, 24), (60, 15)]


def save(run, *steps):
    for step in steps:
        (run.checkpoints / checkpoint_name(step)).mkdir(parents=True)


def keep(run, step, value, seconds=None, **asked):
    """Scores of a step, as an evaluation would have kept them."""
    scores = (
        Score("lmm_choice", "acc", value, 0.05, 0.25, 100, 0),
        Score("lmm_sums", "exact_match", value / 2, 0.03, None, 100, 0),
    )
    job = Job("model", ("lmm_all",), limit=100, **asked)
    outcome = EvaluationOutcome(scores, 0, "", {}, seconds=seconds)
    record = Record(time.time() - 9050 + step / 10, run.name, step, job, outcome)
    run.create()
    write_record(record, file_in_run(record, run), run)


@asynccontextmanager
async def opened(run, size=(120, 30)):
    app = CockpitApp(Reader(run.path))
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: isinstance(app.screen, EvaluateScreen))
        await until_read(pilot, "checkpoint")
        yield app, pilot


async def change(pilot, row, *keys):
    pilot.app.screen.query_one(Table).go_to(row)
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(pilot.app.screen, AskDialog | ChoiceDialog | PickDialog))
    await pilot.press(*keys)


async def test_how_long_it_will_take_is_said_before_it_starts(run):
    keep(run.dir, 10, 0.5)  # By an older version: it does not say how long it took.
    async with opened(run.dir, (150, 30)) as (app, pilot):
        asked = question_count(("lmm_all",), 100)
        await until_read(pilot, f"{asked:,} questions; how long: known once it runs")
        keep(run.dir, 20, 0.5, seconds=70.0)  # For 200 questions.
        app.screen.look()
        await until_read(pilot, f"{asked:,} questions, about {age(0.35 * asked)}")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_scores_stand_with_chance_and_error_bars(run, size):
    save(run.dir, 100, 200)
    keep(run.dir, 200, 0.5)
    async with opened(run.dir, size) as (app, pilot):
        await until_read(pilot, "step 200")
        await until_read(pilot, "0.500")
        text = screen_text(app)
        assert "0.404-0.596" in text and "0.250" in text and "step 200 (newest)" in text
        results = "\n".join(text.splitlines()[2:])  # Below the header.
        assert ("●" in results) == (size[0] >= 80)
        assert max(map(len, text.splitlines())) <= size[0]


async def test_the_history_is_a_chart_over_steps_and_n_turns_to_the_next_score(run):
    for step in (100, 200, 300):
        keep(run.dir, step, step / 1000)
    async with opened(run.dir) as (app, pilot):
        await until_read(pilot, "step 300")
        await pilot.press("right_square_bracket")
        await until_read(pilot, "lmm_choice acc (100 questions)")
        assert "0.3000" in screen_text(app)
        store = app.screen.query_one(Chart).store
        assert store.get("high").last_value == pytest.approx(0.3958, abs=1e-4)
        await pilot.press("n")
        await until_read(pilot, "lmm_sums exact_match")
        await until_read(pilot, "0.1500")
        await pilot.press("left_square_bracket")
        await until_read(pilot, "0.219-0.396")


async def test_runs_that_were_asked_the_same_are_compared_and_no_others(run, tmp_path):
    keep(run.dir, 100, 0.4)
    keep(run.dir, 200, 0.5)
    for name, value, asked in (("better", 0.7, {}), ("other", 0.9, {"chat": True})):
        keep(RunDir(tmp_path / "runs" / name), 50, value, **asked)
    async with opened(run.dir) as (app, pilot):
        await until_read(pilot, "step 200")
        await pilot.press("right_square_bracket", "right_square_bracket")
        await until_read(pilot, "better")
        lines = screen_text(app).splitlines()[2:]  # Below the header.
        order = [name for line in lines for name in ("better", "first-words  ") if name in line]
        assert order == ["better", "first-words  "]
        assert "0.500" in screen_text(app) and "0.900" not in screen_text(app)


async def test_the_pages_are_turned_by_clicks_too(run):
    keep(run.dir, 100, 0.4)
    async with opened(run.dir) as (app, pilot):
        await until_read(pilot, "0.400")
        views = app.screen.query_one("#views").region
        await pilot.click(offset=(views.x + 19, views.y))
        await until_read(pilot, "no other run has this evaluation")


async def test_every_setting_is_asked_for_and_wrong_ones_are_refused(run, tmp_path):
    save(run.dir, 100, 200)
    async with opened(run.dir) as (app, pilot):
        await until_read(pilot, "step 200 (newest)")
        await change(pilot, "checkpoint", "2")
        await until_read(pilot, "step 100")
        await change(pilot, "backend", "h")
        await until_read(pilot, "transformers")
        await change(pilot, "tasks")
        await until_read(pilot, "[x] lmm_all")
        # What is taken and not listed is typed; what was marked before is unmarked.
        await pilot.press("space", "x", "y", "space", "backspace", "b", "space", "enter")
        await until_read(pilot, "xy xb")
        await change(pilot, "limit", "ctrl+u", "x", "enter")
        await until_read(pilot, "expected a whole number")
        await pilot.press("ctrl+u", "0", "enter")
        await until_read(pilot, "all questions")
        await change(pilot, "few-shot", "2", "enter")
        await change(pilot, "local data", *"/no", "enter")
        await until_read(pilot, "no such folder")
        await pilot.press("ctrl+u", "enter")
        await change(pilot, "device")
        await until_read(pilot, "the best of this machine")
        await pilot.press(*"cpu", "enter")
        app.screen.query_one(Table).go_to("template")
        await pilot.press("enter")
        await until_read(pilot, "chat")
        setup = app.screen.setup
        assert setup.job(setup.checkpoint) == Job(
            str(run.dir.checkpoints / checkpoint_name(100)),
            ("xy", "xb"),
            backend="hf",
            device="cpu",
            limit=None,
            num_fewshot=2,
            chat=True,
        )


@pytest.mark.parametrize("size", [(120, 30), (60, 15)])
async def test_progress_is_shown_with_what_is_left(run, size):
    async with opened(run.dir, size) as (app, pilot):
        results = app.screen.query_one(EvaluationResults)
        results.show_progress("step 200", EvaluationProgress(12, 40, 8, 75.0))
        await until_read(pilot, "12/40 answers · 1 min 15 s left")
        assert ("8 known" in screen_text(app)) == (size[0] > 60)


async def test_without_a_checkpoint_it_says_what_to_do_and_no_key_breaks_it(run):
    async with opened(run.dir, (60, 15)) as (app, pilot):
        await until_read(pilot, "No checkpoint yet")
        run.dir.info_file.unlink()
        for row in KEYS:
            if row.where in ("evaluate", "list"):
                await pilot.press(*row.keys)
        assert any("No checkpoint yet" in toast for toast in toasts(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, DashboardScreen))


@pytest.mark.slow
@pytest.mark.usefixtures("forked_children")
async def test_a_checkpoint_is_really_scored_and_a_cancelled_one_is_not(tmp_path):
    settings = {
        "runs_dir": tmp_path,
        "name": "scored",
        "device": "cpu",
        "train.steps": 1,
        "train.threads": 1,
        "train.batch_size": 2,
        "data.seq_len": 32,
        "data.builtin_mb": 0.1,
        "data.cache_dir": tmp_path / "cache",
        "model.vocab_size": 300,
        "model.hidden_size": 32,
        "model.num_layers": 1,
        "model.intermediate_size": 64,
        "log.val_every": 0,
        "log.probe_every": 0,
        "log.sample_every": 0,
        "log.tensorboard": False,
    }
    host = EngineHost(resolve(assignments={key: str(value) for key, value in settings.items()}))
    assert host.run() == "finished", host.error
    async with opened(host.run_dir) as (app, pilot):
        await until_read(pilot, "step 1 (newest)")
        await pilot.press("v")
        await until_read(pilot, "starting lm-eval")
        await pilot.press("S")
        await until(pilot, lambda: "Cancelled; v resumes it" in toasts(app))
        await until_read(pilot, "v evaluate:")
        assert not read_records(host.run_dir)
        await change(pilot, "tasks")
        await until_read(pilot, "[x] lmm_all")
        await pilot.press("space", *"lmm_choice", "enter")
        await change(pilot, "limit", "ctrl+u", "3", "enter")
        await until(pilot, lambda: not app.screen.busy)
        await pilot.press("v")
        await until(pilot, lambda: read_records(host.run_dir), 120)
        await until_read(pilot, "lmm_choice acc")
        [record] = read_records(host.run_dir)
        assert record.step == 1 and record.job.limit == 3
        assert record.outcome.scores[0].questions == 3
    until_ended(lambda: "evaluate" not in {thread.name for thread in threading.enumerate()})


def test_an_error_bar_has_value_ends_and_chance_in_their_places():
    score = Score("quiz", "acc", 0.5, 0.1 / 1.96, 0.2, 26, 0)
    assert interval(score, 11, ASCII) == "..|[-o-]..."
    assert interval(score, 11, BRAILLE) == "··┊├─●─┤···"
    assert interval(replace(score, value=12.0), 11, ASCII) == " " * 11
    assert (
        interval(replace(score, metric="f1", value=1.0, stderr=None, chance=None), 5, ASCII)
        == "....o"
    )


@pytest.mark.parametrize("size", [(200, 50), (80, 24)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("turns", [0, 1, 2], ids=["scores", "history", "runs"])
async def test_each_page_looks_as_it_did(run, tmp_path, snapshot, size, turns):
    save(run.dir, 100, 300)
    for step in (100, 300):
        keep(run.dir, step, step / 1000)
    keep(RunDir(tmp_path / "runs" / "better"), 50, 0.75)
    async with opened(run.dir, size) as (app, pilot):
        await until_read(pilot, "step 300 (newest)")
        await pilot.press(*["right_square_bracket"] * turns)
        await until_read(pilot, ("0.300", "0.3000", "0.750")[turns])
        await settled(pilot)
        lines = [line.partition(" ago")[0] for line in steady_text(app).splitlines()]
        assert "\n".join(lines) == snapshot
