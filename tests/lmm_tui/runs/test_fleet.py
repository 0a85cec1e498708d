"""The runs of several machines are one list; a machine that is away is shown as away."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli_w
from fake_run import FakeRun
from looking import screen_text, toasts, until_read
from looking import until as until_shown
from machines import RealMachines, StandIns, machines
from made_runs import make_run
from processes import until

from lmm_tui.cli.main import run as program
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.screens.dashboard import DashboardScreen
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.reader import Reader
from lmm_tui.runs.fleets import fleet_of, folder_for_new_runs
from lmm_tui.runs.remote.fleet import fleet, is_fleet
from lmm_tui.runs.remote.messages import WireError, from_folder
from lmm_tui.runs.run_columns import DIFFERING, RunColumns
from lmm_tui.runs.run_details import RunDetails
from lmm_tui.runs.run_list import RunList, listed_runs


@pytest.fixture
def boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIns | RealMachines]:
    """`boxA` and `boxB`, with two runs in the folder `a`."""
    with machines(tmp_path, "boxA", "boxB") as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        make_run(tmp_path / "a", "done", rows=30)
        make_run(tmp_path / "a", "old")
        yield made


def names(folder: Path) -> list[str]:
    return sorted(run.name for run in RunList(folder).read())


def test_the_runs_of_two_machines_are_one_list_that_moves(
    tmp_path: Path, boxes: StandIns | RealMachines
) -> None:
    live = FakeRun(tmp_path / "b" / "live")
    live.train(1, 30)
    live.serve(lambda request: Reply(True, f"{request.command}", 31))
    with fleet([f"boxA:{tmp_path}/a/", f"boxB:{tmp_path}/b/"]) as folder:
        here = fleet_of(folder)
        assert here is not None and not here.away
        assert names(folder) == ["boxA:done", "boxA:old", "boxB:live"]
        assert folder_for_new_runs(folder) == Path("runs")
        live.train(31, 55)
        until(lambda: RunList(folder).read()[0].summary.status.step == 55)
        shutil.rmtree(tmp_path / "a" / "old")
        until(lambda: names(folder) == ["boxA:done", "boxB:live"])
        # One that is opened is mirrored whole, and takes commands.
        mirror = folder / "boxB:live"
        here.follow(mirror)
        session = Reader(mirror)
        until(lambda: (session.poll(), session.series.last_step == 55)[1])
        assert session.send("pause") == Reply(True, "pause", 31)
        # A connection that is lost is made again, for the list and for the run.
        boxes.leave("boxB")
        until(lambda: "boxB" in here.away)
        assert names(folder) == ["boxA:done", "boxB:live"]
        live.train(56, 60)
        boxes.come_back("boxB")
        until(lambda: not here.away)
        until(lambda: (session.poll(), session.series.last_step == 60)[1])
    assert fleet_of(folder) is None and not folder.exists()
    live.close()


def test_a_machine_that_is_away_is_named_and_comes_back(
    tmp_path: Path, boxes: StandIns | RealMachines
) -> None:
    boxes.leave("boxB")
    make_run(tmp_path / "b", "far")
    with fleet([f"boxA:{tmp_path}/a", f"boxB:{tmp_path}/b"]) as folder:
        here = fleet_of(folder)
        assert here is not None and "Connection refused" in here.away["boxB"]
        assert names(folder) == ["boxA:done", "boxA:old"]
        boxes.come_back("boxB")
        until(lambda: not here.away and "boxB:far" in names(folder))


def test_runs_that_are_not_open_have_settings_best_and_curve(
    tmp_path: Path, boxes: StandIns | RealMachines
) -> None:
    for name, lr in (("done", 1e-3), ("old", 3e-3)):
        text = tomli_w.dumps({"optim": {"lr": lr}, "lora": {"targets": ["q_proj"]}})
        (tmp_path / "a" / name / "config.toml").write_text(text)
    set_there = json.dumps(
        {
            "kind": "command",
            "step": 5,
            "level": "info",
            "message": "set",
            "changes": [{"step": 5, "key": "optim.lr", "before": 3e-3, "after": 2e-3}],
        }
    )
    (tmp_path / "a" / "old" / "events.jsonl").write_text(set_there + "\n")
    with fleet([f"boxA:{tmp_path}/a/"]) as folder:
        runs, far = RunList(folder).read(), RunDetails(folder)
        until(lambda: all(far.settings(run) for run in runs))
        until(lambda: any(far.digest(run).curve for run in runs))
        there = RunDetails(tmp_path / "a")
        for run in runs:
            own = listed_runs([tmp_path / "a" / run.name.removeprefix("boxA:")])[0]
            assert not there.read_on([own])
            assert far.settings(run) == there.settings(own)
            assert far.changed(run) == there.changed(own)
            assert far.digest(run) == there.digest(own)
        assert {"optim.lr": 3e-3} in map(far.changed, runs)
        columns = RunColumns(runs, far)
        assert "optim.lr" in columns.chosen([DIFFERING])


async def test_the_list_says_who_is_away_and_opens_what_is_there(
    tmp_path: Path, boxes: StandIns | RealMachines
) -> None:
    boxes.leave("boxB")
    with fleet([f"boxA:{tmp_path}/a", f"boxB:{tmp_path}/b"]) as folder:
        app = CockpitApp(runs_dir=folder)
        async with app.run_test(size=(140, 40), notifications=True) as pilot:
            await until_shown(pilot, lambda: "boxB is away" in screen_text(app))
            await until_shown(pilot, lambda: "boxA:done" in screen_text(app))
            await pilot.press("d")
            await until_shown(
                pilot, lambda: any("on other machines" in said for said in toasts(app))
            )
            app.screen.query_one("Table").go_to("boxA:done")
            await pilot.press("enter")
            await until_shown(pilot, lambda: isinstance(app.screen, DashboardScreen))
            await until_shown(
                pilot, lambda: "30 / 100" in screen_text(app) or "loss" in screen_text(app)
            )
            assert app.session is not None and app.session.run_dir.name == "boxA:done"
            await until_shown(pilot, lambda: app.session.series.last_step == 30)
            for key, said in (("5", "Checkpoints stay on"), ("6", "The output stays on")):
                await pilot.press(key)
                await until_read(pilot, said)
            await pilot.press("2", "Q")
            await until_read(pilot, "steered on their own machine")


@pytest.mark.parametrize(
    ("given", "whether"),
    [
        (["boxA:", "boxB:runs"], True),
        (["me@boxA:"], True),
        (["boxA:/data/runs/"], True),
        (["boxA:runs/mine"], False),
        (["mine", "boxA:"], False),
        (["-oProxyCommand=x:", "boxA:"], False),
        ([], False),
    ],
)
def test_machines_are_told_from_runs(given: list[str], whether: bool) -> None:
    assert is_fleet(given) is whether


@pytest.mark.parametrize(
    "message",
    [
        {"run": "../up", "gone": True},
        {"run": "a/b", "gone": True},
        {"run": ".ssh", "gone": True},
        {"run": "", "gone": True},
        {"run": "x" * 300, "gone": True},
        {"run": "x\0y", "gone": True},
        {"run": 5, "gone": True},
        {"run": "x", "file": "metrics.jsonl", "at": 0, "add": "{}\n"},
        {"run": "x", "file": "../run.json", "text": "{}"},
        {"run": "x", "began": {}, "now": {}, "best": None, "best_step": None, "curve": [0.0] * 99},
        {"run": "x", "began": {}, "now": {"a": {}}, "best": 1, "best_step": 1, "curve": []},
        {"run": "x", "began": {}, "now": {}, "best": math.nan, "best_step": 1, "curve": []},
        {"run": "x", "began": {}, "now": {}, "best": 1.0, "best_step": 0.5, "curve": []},
        {"run": "x", "began": {"k" * 999: 1}, "now": {}, "best": 1, "best_step": 1, "curve": []},
        {"listed": 10**9},
        {"listed": -1},
        {"id": 1, "reply": {"ok": True, "message": "", "step": 1}},
        [],
    ],
    ids=str,
)
def test_what_no_folder_says_is_refused(message: object) -> None:
    with pytest.raises(WireError):
        from_folder(json.dumps(message).encode())


def test_runs_and_machines_are_not_mixed(capsys: pytest.CaptureFixture[str]) -> None:
    assert program(["monitor", "one", "two"]) == 2
    assert "hostA: hostB:runs" in capsys.readouterr().err
