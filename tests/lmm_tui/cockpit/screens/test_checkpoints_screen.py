"""The checkpoints screen says what is kept and why, and erases nothing that a run still needs."""

from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fake_run import FakeRun
from looking import screen_text, toasts, until, until_read
from processes import files_opened

from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.keys import KEYS
from lmm_tui.cockpit.screens.checkpoints_screen import CheckpointsScreen
from lmm_tui.cockpit.screens.configure import ConfigureScreen
from lmm_tui.cockpit.screens.dialogs import ChoiceDialog
from lmm_tui.cockpit.widgets.table import Table
from lmm_tui.engine.checkpoints import checkpoint_files
from lmm_tui.engine.checkpoints.checkpoint_files import FORMAT, seal
from lmm_tui.engine.evaluation.job import EvaluateError, EvaluationOutcome, Job, Score
from lmm_tui.engine.evaluation.records import Record
from lmm_tui.engine.run.checkpoint_names import checkpoint_name
from lmm_tui.engine.run.reader import Reader
from lmm_tui.errors import LmmError
from lmm_tui.runs.worker_jobs import convert_in_worker

KEEP = "[log]\nkeep = 1\nkeep_best = 1\nkeep_every = 0\nprobe_every = 50\n"


@pytest.fixture
def run(tmp_path):
    made = FakeRun(tmp_path / "runs" / "first-words")
    made.train(1, 20)
    made.dir.config.write_text(KEEP)
    yield made
    made.close()


def save(run, step, val_loss=None):
    path = run.dir.checkpoints / checkpoint_name(step)
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(bytes(3_000_000))
    (path / "training.pt").write_bytes(bytes(1000))
    seal(path, {"format": FORMAT, "step": step, "tokens": step * 4096, "val_loss": val_loss})
    return path


@asynccontextmanager
async def listing(run, count, size=(120, 30)):
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.press("5")
        await until(pilot, lambda: isinstance(app.screen, CheckpointsScreen))
        await until(pilot, lambda: len(steps(app)) == count)
        yield app, pilot


def steps(app):
    return [row.key for row in app.screen.query_one(Table).rows]


async def test_it_lists_what_is_saved_and_what_keeps_it(run):
    for step, val_loss in ((100, 3.5), (200, 3.1), (300, 3.25)):
        save(run, step, val_loss)
    async with listing(run, 3, (200, 50)) as (app, _):
        text = screen_text(app)
        lines = text.splitlines()
        assert "first-words · 3 checkpoints · 9.0 MB" in text
        assert "weights, optimizer" in text
        for step, words in (("300", "last"), ("200", "best"), ("100", "not kept")):
            line = next(line for line in lines if line.strip().startswith(step))
            assert words in line and "3.0 MB" in line


async def test_p_pins_at_once_and_asks_before_a_pin_goes_that_alone_keeps_it(run):
    for step in (100, 200):
        save(run, step)
    first = run.dir.checkpoints / checkpoint_name(100)
    async with listing(run, 2) as (app, pilot):
        await pilot.press("end", "P")
        await until_read(pilot, "● pinned")  # As it is listed, not as a toast says it.
        assert (first / "pinned").exists()
        await pilot.press("P")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press("escape")
        assert (first / "pinned").exists()
        await pilot.press("P", "y")
        await until(pilot, lambda: not (first / "pinned").exists())


async def test_x_asks_erases_and_leaves_the_last_one_of_a_live_run(run):
    for step in (100, 200):
        save(run, step)
    async with listing(run, 2) as (app, pilot):
        await pilot.press("end", "d", "enter")
        await pilot.pause()
        assert len(checkpoint_files.list_checkpoints(run.dir.checkpoints)) == 2
        await pilot.press("d", "y")
        await until(pilot, lambda: len(steps(app)) == 1)
        await pilot.press("d")
        await pilot.pause()
        assert "the only checkpoint of a live run stays" in toasts(app)
        assert isinstance(app.screen, CheckpointsScreen)
    assert (run.dir.checkpoints / checkpoint_name(200)).exists()


async def test_f_configures_a_run_that_starts_from_it(run):
    path = save(run, 100)
    async with listing(run, 1) as (app, pilot):
        await pilot.press("f")
        await until_read(pilot, "lmm-tui launch --from")
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, ConfigureScreen))
        assert app.screen.config.start_from == str(path)


@pytest.mark.parametrize("key, words", [("f", "launch --from"), ("v", "eval --run")])
async def test_the_command_line_can_be_copied(run, key, words):
    path = save(run, 100)
    async with listing(run, 1) as (app, pilot):
        await pilot.press(key, "c")
        await until(pilot, lambda: app.clipboard)
        assert words in app.clipboard and str(path) in app.clipboard


async def test_e_evaluates_beside_and_says_how_it_came_out(run, monkeypatch):
    path = save(run, 100)
    score = Score("lmm_sums", "acc", 0.25, None, None, 10, None)
    job = Job(str(path), ("lmm_sums",))
    record = Record(0.0, run.dir.name, 100, job, EvaluationOutcome((score,), 0, "", {}))
    started, ended = [], [record, EvaluateError("the evaluation was cancelled")]

    class Beside:
        def start(self, checkpoint):
            started.append(checkpoint)
            return True

        def collect(self):
            return [ended.pop(0)] if started and ended else []

        def close(self):
            started.append("closed")

    monkeypatch.setattr(
        "lmm_tui.cockpit.screens.checkpoint_actions._background_evaluation", lambda run: Beside()
    )
    async with listing(run, 1) as (app, pilot):
        await pilot.press("v", "y")
        await until(pilot, lambda: started == [path])
        app.screen.look()
        app.screen.look()
        await until(pilot, lambda: "the evaluation was cancelled" in toasts(app))
        assert "step 100: lmm_sums 0.250; kept in evals/" in toasts(app)
    assert started == [path, "closed"]


async def test_v_finds_a_file_that_is_not_what_was_written(run):
    path = save(run, 100)
    async with listing(run, 1) as (app, pilot):
        await pilot.press("V")
        await until(pilot, lambda: any("is intact" in toast for toast in toasts(app)))
        (path / "training.pt").write_bytes(bytes(999) + b"\1")
        await pilot.press("V")
        await until(pilot, lambda: any("training.pt is not" in toast for toast in toasts(app)))


async def test_c_asks_for_a_path_and_says_what_refused_it(run, tmp_path, monkeypatch):
    save(run, 100)
    monkeypatch.chdir(tmp_path)
    Path("taken").mkdir()
    asked = []

    def convert(source, target, *, merge):
        asked.append((source.name, target, merge))
        raise LmmError("not converted: [b]no tokenizer[/b]")

    monkeypatch.setattr("lmm_tui.runs.worker_jobs.convert_in_worker", convert)
    async with listing(run, 1) as (app, pilot):
        await pilot.press("e", "ctrl+u", *"taken", "enter")
        await until_read(pilot, "nothing is overwritten")
        await pilot.press(*"/../hf", "enter")
        await until(pilot, lambda: "not converted: [b]no tokenizer[/b]" in toasts(app))
    assert asked == [(checkpoint_name(100), Path("taken/../hf"), False)]


@pytest.mark.usefixtures("forked_children")
def test_a_conversion_that_fails_says_why_in_one_sentence(tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(LmmError, match="not converted: .*nothing"):
        convert_in_worker(tmp_path / "nothing", tmp_path / "target", merge=False)


async def test_damaged_ones_are_listed_as_such(run):
    path = save(run, 100)
    (path / "state.json").write_text("{")
    async with listing(run, 1) as (app, _):
        assert "damaged" in screen_text(app)


@pytest.mark.parametrize("size", [(120, 30), (60, 15)])
async def test_no_key_breaks_an_empty_list_or_one_whose_run_has_gone(run, size):
    async with listing(run, 0, size) as (app, pilot):
        await until_read(pilot, "No checkpoint yet")
        run.dir.info_file.unlink()
        for row in KEYS:
            if row.where in ("checkpoints", "list"):
                for key in row.keys:
                    await pilot.press(key)
        app.screen.look()
        await until_read(pilot, "No checkpoint was saved in this run")


def test_a_look_at_many_checkpoints_reads_only_what_is_new(run):
    from lmm_tui.runs.checkpoint_list import CheckpointList

    for step in range(1, 201):
        path = run.dir.checkpoints / checkpoint_name(step)
        path.mkdir(parents=True)
        seal(path, {"format": FORMAT, "step": step})
    reader = CheckpointList(run.dir)
    assert len(reader.read()) == 200
    assert files_opened(reader.read) < files_opened(CheckpointList(run.dir).read) / 3
