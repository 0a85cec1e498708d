"""The list of runs shows all of them, does what its keys say, and no harm without asking."""

import shutil
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from looking import screen_text, toasts, until, until_read
from made_runs import INFO, make_run
from processes import files_opened

from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.keys import KEYS
from lmm_tui.cockpit.screens.comparison_screen import SCATTER, ComparisonScreen
from lmm_tui.cockpit.screens.comparison_tables import SETTINGS
from lmm_tui.cockpit.screens.dashboard import DashboardScreen
from lmm_tui.cockpit.screens.dialogs import AskDialog, ChoiceDialog
from lmm_tui.cockpit.screens.runs_screen import RunsScreen
from lmm_tui.cockpit.widgets.filter_input import FilterInput
from lmm_tui.cockpit.widgets.table import Table
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.runs import manage_runs
from lmm_tui.runs.run_list import RunList, read_note

HOSTILE = "\x1b[31mred\x1b]0;owned\x07 [b]x[/b] \u202egnp"


@pytest.fixture
def runs(tmp_path):
    """Three runs that have ended, the last one first, and one that is alive."""
    now = time.time()
    for age, name, stage, loss, parent in (
        (4, "base", "pretrain", 2.5, ""),
        (3, "chat", "sft", 1.5, "base"),
        (2, "polite", "dpo", 0.5, "chat"),
    ):
        run = make_run(
            tmp_path, name, stage=stage, loss=loss, parent=parent, started=now - age * 3600
        )
        run.write_config(f'stage = "{stage}"\nseed = 1\n[optim]\nlr = {loss}\n')
    make_run(tmp_path, "live", state="running", step=40, started=now - 60)
    return tmp_path


@asynccontextmanager
async def listing(folder, size=(120, 30)):
    app = CockpitApp(runs_dir=folder)
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: isinstance(app.screen, RunsScreen) and names(app))
        yield app, pilot


def names(app):
    return [row.key for row in app.screen.query_one(Table).rows]


async def test_it_tells_state_step_loss_and_where_a_run_comes_from(runs):
    manage_runs.note(_run(runs, "polite"), "the good one")
    async with listing(runs, (200, 50)) as (app, pilot):
        assert names(app) == ["live", "polite", "chat", "base"]
        await pilot.press("down")
        await until_read(pilot, "base → chat → polite")
        text = screen_text(app)
        for part in (
            "4 runs · 1 live",
            "● running",
            "✓ finished",
            "40/100",
            "2.500",
            "the good one",
        ):
            assert part in text
        assert "3 h 00 min" in text


@pytest.mark.parametrize("size", [(200, 50), (80, 24), (60, 15)])
async def test_names_of_any_kind_stay_in_their_column(tmp_path, size):
    for name in ("x" * 200, "小兔子" * 20, HOSTILE):
        make_run(tmp_path, name, stage=HOSTILE, model=HOSTILE, parent=HOSTILE, error=HOSTILE)
    async with listing(tmp_path, size) as (app, pilot):
        await pilot.press("down", "down")
        text = screen_text(app)
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
        assert [line.index("✓ finished") for line in text.splitlines() if "✓ finished" in line]
        for key in ("d", "R", "r", "a"):
            await pilot.press(key)
            await pilot.pause()
            assert not {"\x1b", "\x07", "\u202e"} & set(screen_text(app))
            await pilot.press("escape")


async def test_s_and_clicks_on_the_head_sort(runs):
    async with listing(runs) as (app, pilot):
        await pilot.press("o")
        assert names(app) == ["base", "chat", "live", "polite"]
        await pilot.press("O")
        assert names(app) == ["polite", "live", "chat", "base"]
        head = screen_text(app).splitlines()[1]
        await pilot.click(offset=(head.index("loss") + 1, 1))
        await pilot.pause()
        assert names(app) == ["polite", "chat", "live", "base"]
        await pilot.click(offset=(head.index("loss") + 1, 1))
        await pilot.pause()
        assert names(app)[-1] == "polite"


async def test_a_loss_that_is_none_or_nan_comes_last_either_way(tmp_path):
    for name, loss in (("a", 2.0), ("b", float("nan")), ("c", None), ("d", 1.0)):
        make_run(tmp_path, name, loss=loss)
    async with listing(tmp_path) as (app, pilot):
        app.screen.sort_by("loss")
        assert names(app)[:2] == ["d", "a"]
        await pilot.press("O")
        assert names(app)[:2] == ["a", "d"]


async def test_slash_narrows_the_list_as_one_types_and_escape_takes_it_back(runs):
    async with listing(runs) as (app, pilot):
        await pilot.press("slash", *"sft")
        await pilot.pause()
        assert names(app) == ["chat"]
        await pilot.press("enter")
        assert "1 of 4" in screen_text(app)
        await pilot.press("escape")
        await pilot.pause()
        assert len(names(app)) == 4 and isinstance(app.screen, RunsScreen)
        await pilot.press("slash", *"nothing", "enter")
        await until_read(pilot, "No run is called or noted “nothing”")


async def test_d_compares_the_marked_runs(runs):
    async with listing(runs, (150, 40)) as (app, pilot):
        await pilot.press("D")
        assert "Mark two runs or more" in toasts(app)[-1]
        await pilot.press("down", "space", "space", "D")
        await until(pilot, lambda: isinstance(app.screen, ComparisonScreen))
        await until_read(pilot, "2 runs compared")
        head, first, second = screen_text(app).splitlines()[2:5]
        assert all(word in head for word in ("loss", "lr", "stage")) and "seed" not in head
        assert ("polite" in first) and ("0.5" in first) and ("1.5" in second)
        assert "x axis" not in screen_text(app)
        await pilot.press("right_square_bracket")
        await until_read(pilot, "mean")
        app.screen.action_open_page(app.screen.pages.index(SETTINGS) + 1)
        await until(pilot, lambda: screen_text(app).count("polite") == 1)  # Not below it again.
        app.screen.action_open_page(app.screen.pages.index(SCATTER) + 1)
        await until_read(pilot, "x axis")
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)


async def test_the_filter_of_the_command_line_filters_as_one_types(runs):
    async with listing(runs) as (app, pilot):
        await pilot.press("slash")
        app.screen.query_one(FilterInput).value = "lr<2 stage!=dpo"
        await until(pilot, lambda: names(app) == ["chat"])
        app.screen.query_one(FilterInput).value += " lr<"
        await until_read(pilot, "nothing to compare lr with")
        assert names(app) == ["chat"]
        await pilot.press("escape")
        await until(pilot, lambda: len(names(app)) == 4)


async def test_the_columns_are_those_that_were_chosen_and_are_kept(runs):
    async with listing(runs, (150, 40)) as (app, pilot):
        await until(pilot, lambda: " lr " in screen_text(app).splitlines()[1])
        await pilot.press("vertical_line", "ctrl+u", *"name nonsense", "enter")
        await until_read(pilot, "no column and no setting")
        await pilot.press("ctrl+u", *"name,lr best", "enter")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        await until(pilot, lambda: screen_text(app).splitlines()[1].split()[:3] == [
            "name", "lr", "best"])  # fmt: skip
        assert app.habits.columns == ("name", "lr", "best")
    again = CockpitApp(runs_dir=runs, habits=app.habits)
    async with again.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: names(again))
        assert screen_text(again).splitlines()[1].split()[:2] == ["name", "lr"]


async def test_best_and_curve_are_read_once_for_all_starts(tmp_path):
    for name, rows in (("long", 60), ("short", 12)):
        make_run(tmp_path, name, rows=rows)
    best = 2.5 + 4.43 * 0.97**59 + 0.1
    for _ in range(2):
        async with listing(tmp_path, (160, 30)) as (app, pilot):
            await until_read(pilot, f"{best:.3f}")
            assert "█" in screen_text(app)
            app.screen.sort_by("best")
            await until(pilot, lambda app=app: names(app) == ["long", "short"])
        # An ended run is not read again.
        (tmp_path / "long" / "metrics.jsonl").write_text("")


async def test_groups_that_fold_and_the_lineage(runs):
    for number in range(2):
        make_run(runs, f"trial-{number}", group="sweep-1", val_loss=2.0 + number)
    async with listing(runs) as (app, pilot):
        await pilot.press("Y")
        await until_read(pilot, "▾ sweep-1 (2)")
        lines = screen_text(app).splitlines()
        assert any("├─ trial-" in line for line in lines)
        await pilot.press("home", "down", "enter")
        await until_read(pilot, "▸ sweep-1 (2)")
        assert len(names(app)) == 5
        await pilot.press("space")
        await until_read(pilot, "2 marked")
        await pilot.press("Y")
        await until_read(pilot, "└─ chat")
        assert "   └─ polite" in screen_text(app)


async def test_actions_work_on_all_marked_runs(runs):
    async with listing(runs) as (app, pilot):
        await pilot.press("down", "space", "space", "number_sign", *"night best", "enter")
        await until(pilot, (runs / "chat" / "tags.txt").exists)
        assert {name: _run(runs, name).path.joinpath("tags.txt").read_text() for name in (
            "polite", "chat")} == dict.fromkeys(("polite", "chat"), "best\nnight\n")  # fmt: skip
        await pilot.press("Z")
        await until(pilot, lambda: names(app) == ["live", "base"])
        await until_read(pilot, "2 archived")
        await pilot.press("slash", *"tag=archived", "enter")
        await until(pilot, lambda: set(names(app)) == {"polite", "chat"})
        await pilot.press("Z")
        await until(pilot, lambda: names(app) == [])
        await pilot.press("escape")
        await until(pilot, lambda: len(names(app)) == 4)
        await pilot.press("d")
        await until_read(pilot, "2 runs: polite, chat")
        await pilot.press("y")
        await until(pilot, lambda: names(app) == ["live", "base"])
    assert {path.name for path in (runs / ".trash").iterdir()} == {"polite", "chat"}


async def test_a_live_run_among_the_marked_ones_is_not_deleted(runs):
    async with listing(runs) as (app, pilot):
        await pilot.press("A", "d")
        await pilot.pause()
        assert toasts(app) == ["live is running; stop it first"]


async def test_marked_runs_are_written_as_one_report(runs, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "lmm_tui.cockpit.screens.run_outputs.run_in_worker",
        lambda words, **_: asked.append(words) or "done",
    )
    async with listing(runs) as (app, pilot):
        await pilot.press("down", "space", "space", "e", "h")
        await until(pilot, lambda: isinstance(app.screen, AskDialog))
        await pilot.press("ctrl+u", *"two.txt", "enter")
        await until_read(pilot, "ends in .html")
        await pilot.press("ctrl+u", *f"{tmp_path}/two.html", "enter")
        await until(pilot, lambda: any("wrote" in said for said in toasts(app)))
    paths = [str(runs / name) for name in ("polite", "chat")]
    assert asked == [["report", *paths, "-o", f"{tmp_path}/two.html"]]


async def test_r_gives_another_name_and_refuses_one_that_is_taken(runs):
    async with listing(runs) as (app, pilot):
        await pilot.press("end", "r")
        await until(pilot, lambda: isinstance(app.screen, AskDialog))
        await pilot.press("ctrl+u", *"chat", "enter")
        await until_read(pilot, "take another name")
        await pilot.press("ctrl+u", *"ground", "enter")
        await until(pilot, lambda: "ground" in names(app))
    assert not (runs / "base").exists()
    assert _run(runs, "ground").read_info().name == "ground"


@pytest.mark.parametrize("name", ["", ".x", "a/b", " a", "x" * 201, "a\0b"])
def test_names_that_no_folder_should_have_are_refused(runs, name):
    with pytest.raises(LmmError):
        manage_runs.rename(_run(runs, "base"), name)
    assert (runs / "base").is_dir()


async def test_n_keeps_a_note_and_takes_it_away(runs):
    async with listing(runs) as (_, pilot):
        await pilot.press("end", "a", *"worth keeping", "enter")
        await until_read(pilot, "worth keeping")
        assert (runs / "base" / "note.txt").read_text() == "worth keeping\n"
        await pilot.press("a", "ctrl+u", "enter")
        await until(pilot, lambda: not (runs / "base" / "note.txt").exists())


async def test_x_asks_and_moves_to_the_trash_beside_the_runs(runs):
    async with listing(runs) as (app, pilot):
        await pilot.press("end", "d")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press("enter")
        await pilot.pause()
        assert (runs / "base").exists()
        await pilot.press("d", "y")
        await until(pilot, lambda: "base" not in names(app))
    assert (runs / ".trash" / "base" / "run.json").exists()


def test_a_second_run_of_one_name_does_not_replace_the_first_in_the_trash(runs):
    manage_runs.throw_away(_run(runs, "base"))
    make_run(runs, "base")
    assert manage_runs.throw_away(_run(runs, "base")).name == "base-2"


@pytest.mark.parametrize("key", ["d", "r", "R"])
async def test_a_live_run_is_left_alone(runs, key):
    async with listing(runs) as (app, pilot):
        await pilot.press("home", key)
        await pilot.pause()
        assert isinstance(app.screen, RunsScreen)
        assert toasts(app) == ["live is running; stop it first"]


def test_a_run_that_somebody_holds_is_not_moved_whatever_its_status_says(runs):
    held = _run(runs, "base").lock()
    for harm in (manage_runs.throw_away, lambda run: manage_runs.rename(run, "other")):
        with pytest.raises(LmmError, match="in use"):
            harm(_run(runs, "base"))
    held.close()
    assert (runs / "base").is_dir()


async def test_resume_says_by_which_command_and_starts_an_engine_of_its_own(runs, monkeypatch):
    resumed = []
    monkeypatch.setattr(
        "lmm_tui.cockpit.screens.run_actions.resume_detached",
        lambda run, steps: resumed.append((run.name, steps)) or 77,
    )
    async with listing(runs) as (app, pilot):
        await pilot.press("end", "R")
        await until_read(pilot, "lmm-tui resume")
        assert "--steps 200" in screen_text(app)
        await pilot.press("c")
        await until(pilot, lambda: app.clipboard.endswith("base --steps 200"))
        await pilot.press("R", "y")
        await until(pilot, lambda: isinstance(app.screen, DashboardScreen))
        assert resumed == [("base", 200)]
        assert app.session.run_dir.name == "base"


async def test_marked_runs_are_noted_and_resumed_together_and_named_alone(runs, monkeypatch):
    resumed = []
    monkeypatch.setattr(
        "lmm_tui.cockpit.screens.run_actions.resume_detached",
        lambda run, steps: resumed.append((run.name, steps)) or 77,
    )
    async with listing(runs) as (app, pilot):
        await pilot.press("end", "space", "up", "space")
        await until_read(pilot, "2 marked")
        names = {run.name for run in app.screen.marked}
        await pilot.press("r")
        await until(pilot, lambda: "A name belongs to one run; 2 are marked" in toasts(app))
        await pilot.press("a", *"both", "enter")
        await until(pilot, lambda: all(read_note(_run(runs, one)) == "both" for one in names))
        await pilot.press("R")
        await until_read(pilot, "all at once")
        await pilot.press("y")
        await until(pilot, lambda: {name for name, _ in resumed} == names)


async def test_what_refuses_a_resume_is_told(runs):
    (runs / "base" / "config.toml").write_text("no_such_key = 1\n")
    async with listing(runs) as (app, pilot):
        await pilot.press("end", "R", "y")
        await until(pilot, lambda: any("no_such_key" in toast for toast in toasts(app)))
        assert isinstance(app.screen, RunsScreen)


async def test_runs_that_vanish_while_they_are_listed_are_gone_and_broken_ones_stay_as_such(runs):
    async with listing(runs) as (app, pilot):
        await pilot.press("end")
        shutil.rmtree(runs / "base")
        (runs / "chat" / "run.json").write_text("{")
        for key in ("a", "enter"):
            await pilot.press(key)
        await pilot.pause()
        await pilot.press("escape")
        app.screen.look()
        await until(pilot, lambda: names(app) == ["live", "polite", "chat"])


async def test_a_double_click_opens_a_run(runs):
    async with listing(runs) as (app, pilot):
        lines = screen_text(app).splitlines()
        row = next(y for y, line in enumerate(lines) if "polite" in line)
        await pilot.click(offset=(5, row), times=2)
        await until(pilot, lambda: isinstance(app.screen, DashboardScreen))
        assert app.session.run_dir.name == "polite"


@pytest.mark.parametrize("size", [(120, 30), (60, 15)])
async def test_no_key_of_the_list_breaks_an_empty_one(tmp_path, size):
    app = CockpitApp(runs_dir=tmp_path)
    async with app.run_test(size=size) as pilot:
        await until_read(pilot, "No runs in")
        for row in KEYS:
            if row.where in ("runs", "list", "place"):
                for key in row.keys:
                    await pilot.press(key)
        assert isinstance(app.screen, RunsScreen)


def test_five_hundred_runs_are_read_again_in_no_time(tmp_path):
    first = make_run(tmp_path, "run-000")
    for number in range(1, 500):
        shutil.copytree(first.path, tmp_path / f"run-{number:03}")
    reader = RunList(tmp_path)
    assert len(reader.read()) == 500
    assert files_opened(RunList(tmp_path).read) >= 500 and files_opened(reader.read) < 20
    _run(tmp_path, "run-007").write_info(replace(INFO, name="run-007", stage="grpo"))
    changed = [run for run in reader.read() if run.summary.info.stage == "grpo"]
    assert [run.name for run in changed] == ["run-007"]


def _run(folder, name):
    return RunDir(folder / name)


async def test_a_run_that_leads_out_is_a_row_that_says_why_and_is_not_opened(runs):
    (runs / "base" / "events.jsonl").symlink_to("/dev/zero")
    async with listing(runs, (200, 50)) as (app, pilot):
        assert names(app) == ["live", "polite", "chat", "base"]
        assert "broken" in screen_text(app)
        await pilot.press("end", "enter")
        await until(pilot, lambda: "events.jsonl: is a symbolic link" in str(toasts(app)))
        assert isinstance(app.screen, RunsScreen)


async def test_the_curve_of_the_run_under_the_cursor_is_shown_on_a_small_screen_by_a_key(tmp_path):
    make_run(tmp_path, "long", rows=60)
    async with listing(tmp_path, (80, 24)) as (app, pilot):
        assert "I curve" in screen_text(app)
        assert not app.screen.query("#preview")
        await pilot.press("I")
        await until_read(pilot, "nats")
        table, curve = app.screen.query_one(Table), app.screen.query_one("#preview")
        assert table.size.height >= 5 and curve.size.height >= 6
        await pilot.press("I")
        await until(pilot, lambda: curve.size.height == 0)
