"""Sweeps begin in the form, and are steered on a screen of their own."""

from looking import screen_text, toasts, until, until_read
from made_runs import make_run
from textual.widgets import Input

from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.screens.configure import ConfigureScreen
from lmm_tui.cockpit.screens.dialogs import AskDialog, ChoiceDialog
from lmm_tui.cockpit.screens.queue_screen import QueueScreen
from lmm_tui.cockpit.screens.runs_screen import RunsScreen
from lmm_tui.cockpit.widgets.table import Table
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.sweeps.axes import Axis
from lmm_tui.sweeps.sweep_plan import SweepFolder, SweepPlan
from lmm_tui.sweeps.trial_store import TrialStore

RATES = Axis("optim.lr", (1e-3, 3e-3, 1e-2))


def made(folder):
    """A sweep of three trials of which one is complete."""
    base = RunConfig(runs_dir=str(folder)).model_dump(exclude_none=True)
    plan = SweepPlan("night", base, (RATES,), 3)
    place = SweepFolder(folder, "night")
    place.create(plan)
    store = TrialStore(place, plan)
    trial = store.claim("gone-1")
    make_run(folder, trial.run, rows=20, group="night")
    store.finish(trial.number, "complete", 2.5, "finished")
    return place, store


def states(store):
    return [(trial.number, trial.state) for trial in store.trials()]


async def open_queue(app, pilot):
    await until(pilot, lambda: isinstance(app.screen, RunsScreen))
    await pilot.press("Q")
    await until(pilot, lambda: isinstance(app.screen, QueueScreen))
    await until(pilot, lambda: len(app.screen.query_one(Table).rows) == 4)


async def test_the_queue_is_paused_reordered_and_shortened(tmp_path):
    place, store = made(tmp_path)
    app = CockpitApp(runs_dir=tmp_path)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await open_queue(app, pilot)
        await until_read(pilot, "no worker")
        text = screen_text(app)
        assert all(word in text for word in ("▾ night", "1/3", "2.500", "lr 0.003", "night-000"))
        await pilot.press("space")
        await until(pilot, lambda: place.flagged("paused"))
        await until_read(pilot, "paused")
        await pilot.press("U")
        await until(pilot, lambda: "Put the cursor on a trial first" in toasts(app))
        await pilot.press("down", "down", "down", "U")
        await until(pilot, lambda: "trial 2 begins next" in toasts(app))
        await pilot.press("up", "d")
        await until(pilot, lambda: states(store)[1] == (1, "failed"))
        await until_read(pilot, "cancelled")
        assert store.claim("me").number == 2


async def test_the_best_gets_more_seeds_and_a_sweep_is_cancelled_when_it_is_confirmed(tmp_path):
    place, store = made(tmp_path)
    app = CockpitApp(runs_dir=tmp_path)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await open_queue(app, pilot)
        await pilot.press("M")
        await until(pilot, lambda: isinstance(app.screen, AskDialog))
        await pilot.press("enter")
        await until(pilot, lambda: len(store.trials()) == 5)
        assert [(one.point, one.seed) for one in store.trials()[3:]] == [
            ({"optim.lr": 1e-3}, 1),
            ({"optim.lr": 1e-3}, 2),
        ]
        await until_read(pilot, "seed +2")
        await pilot.press("X")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press("y")
        await until(pilot, lambda: place.flagged("cancelled"))
        await until_read(pilot, "4 failed")


async def test_the_winner_is_trained_for_twice_as_long(tmp_path, monkeypatch):
    resumed = []
    monkeypatch.setattr(
        "lmm_tui.cockpit.screens.run_actions.resume_detached",
        lambda run, steps: resumed.append((run.name, steps)) or 77,
    )
    made(tmp_path)
    app = CockpitApp(runs_dir=tmp_path)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await open_queue(app, pilot)
        await pilot.press("R")
        await until(pilot, lambda: resumed == [("night-000", 200)])
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.session is not None)
        assert app.session.run_dir.name == "night-000"


async def test_a_damaged_sweep_is_named_and_the_others_are_shown(tmp_path):
    made(tmp_path)
    broken = tmp_path / ".sweeps" / "torn"
    broken.mkdir()
    (broken / "sweep.json").write_text('{"format": 99}')
    app = CockpitApp(runs_dir=tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_queue(app, pilot)
        await until_read(pilot, "1 sweep · 1 broken")


async def test_several_values_in_a_field_make_a_sweep(tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(
        "lmm_tui.sweeps.steer_sweep.start_worker", lambda folder: begun.append(folder) or 1
    )
    config = resolve(assignments={"runs_dir": str(tmp_path), "name": "rates"})
    app = CockpitApp(config=config, runs_dir=tmp_path)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: isinstance(app.screen, ConfigureScreen))
        form = app.screen
        await form.go_to_field("optim.lr", "1e-3, x")
        await until(pilot, lambda: form.field("optim.lr").problem)
        await form.go_to_field("optim.lr", "1e-3, 3e-3, 1e-2")
        await form.go_to_field("train.batch_size", "8..64 log")
        await until_read(pilot, "a sweep over")
        assert not form.form.wrong_fields and form.config.optim.lr == 1e-3
        await until(pilot, lambda: form.known.data is not None)
        await pilot.press("f5")
        await until(pilot, lambda: isinstance(app.screen, AskDialog))
        answer = app.screen.query_one("#answer", Input)
        answer.value = "trials=4 prune=nonsense"
        await pilot.press("enter")
        await until_read(pilot, "choose from")
        answer.value = "trials=4 prune=median seeds=2"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, QueueScreen))
    (folder,) = begun
    plan = folder.read()
    assert set(plan.axes) == {
        Axis("optim.lr", (1e-3, 3e-3, 1e-2)),
        Axis("train.batch_size", (), 8, 64, log=True, whole=True),
    }
    assert (plan.name, plan.trials, plan.sampler, plan.pruner, plan.seeds) == (
        "rates", 4, "tpe", "median", 2)  # fmt: skip


async def test_marked_choices_and_quoted_texts_make_a_sweep_and_a_comma_alone_does_not(tmp_path):
    app = CockpitApp(config=resolve(assignments={"runs_dir": str(tmp_path)}), runs_dir=tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, ConfigureScreen))
        form = app.screen
        await form.go_to_field("optim.name")
        await pilot.press("space", "right", "space")
        await until(pilot, lambda: form.form.axes == (Axis("optim.name", ("adamw", "muon")),))
        assert "✓adamw" in form.field("optim.name").editor.render().plain
        await form.go_to_field("train.compile")
        await pilot.press("space", "right", "space")
        await until(pilot, lambda: "unset cannot be swept" in form.field("train.compile").problem)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: not form.field("train.compile").problem)
        await form.go_to_field("data.source", '"a, b.txt", "c.txt"')
        await until(pilot, lambda: len(form.form.axes) == 2)
        assert {axis.choices for axis in form.form.axes} == {
            ("adamw", "muon"),
            ("a, b.txt", "c.txt"),
        }
        await form.go_to_field("data.source", "a, b.txt")
        await form.go_to_field("optim.name")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: not form.form.axes)
        assert form.config.data.source == "a, b.txt"


async def test_a_space_that_cannot_be_is_refused_in_its_field(tmp_path):
    app = CockpitApp(config=resolve(assignments={"runs_dir": str(tmp_path)}), runs_dir=tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, ConfigureScreen))
        for text, said in (
            ("1e-2..1e-3", "is empty"),
            ("0..1 log", "begins above 0"),
            ("1e-3, 1e-3", "twice"),
            ("1e-3, 99", "needs a"),
            ("1e-3..", "no range"),
        ):
            await app.screen.go_to_field("optim.lr", text)
            field = app.screen.field("optim.lr")
            await until(pilot, lambda field=field, said=said: said in field.problem)
        await pilot.press("f5")
        await until_read(pilot, "Fix the highlighted fields")
