"""The runs of several machines are one list; a machine that is away is shown as away."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_run import FakeRun
from looking import screen_text, toasts
from looking import until as until_shown
from made_runs import make_run
from processes import fake_ssh, until

from lmm_tui.cli.main import run as program
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.screens.dashboard import DashboardScreen
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.reader import Reader
from lmm_tui.runs.remote.fleet import fleet, is_fleet
from lmm_tui.runs.remote.fleets import fleet_of, folder_for_new_runs
from lmm_tui.runs.remote.messages import WireError, from_folder
from lmm_tui.runs.run_list import RunList


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two folders of runs, and an ssh that reaches `boxA` and, unless `away` is there, `boxB`."""
    for name, value in fake_ssh(tmp_path).items():
        monkeypatch.setenv(name, value)
    ssh = tmp_path / "bin" / "ssh"
    away = f"[ -e '{tmp_path}/away' ] && echo 'No route to host' >&2 && exit 255"
    gone = f'case "$*" in *boxB*) {away};; esac'
    ssh.write_text(ssh.read_text().replace("#!/bin/sh\n", f"#!/bin/sh\n{gone}\n"))
    make_run(tmp_path / "a", "done", rows=30)
    make_run(tmp_path / "a", "old")
    yield tmp_path


def names(folder: Path) -> list[str]:
    return sorted(run.name for run in RunList(folder).read())


def test_the_runs_of_two_machines_are_one_list_that_moves(machines: Path) -> None:
    live = FakeRun(machines / "b" / "live")
    live.train(1, 30)
    live.serve(lambda request: Reply(True, f"{request.command}", 31))
    with fleet([f"boxA:{machines}/a/", f"me@boxB:{machines}/b/"]) as folder:
        here = fleet_of(folder)
        assert here is not None and not here.away
        assert names(folder) == ["boxA:done", "boxA:old", "boxB:live"]
        assert folder_for_new_runs(folder) == Path("runs")
        live.train(31, 55)
        until(lambda: RunList(folder).read()[0].summary.status.step == 55)
        shutil.rmtree(machines / "a" / "old")
        until(lambda: names(folder) == ["boxA:done", "boxB:live"])
        # One that is opened is mirrored whole, and takes commands.
        mirror = folder / "boxB:live"
        here.follow(mirror)
        session = Reader(mirror)
        until(lambda: (session.poll(), session.series.last_step == 55)[1])
        assert session.send("pause") == Reply(True, "pause", 31)
    assert fleet_of(folder) is None and not folder.exists()
    live.close()


def test_a_machine_that_is_away_is_named_and_comes_back(machines: Path) -> None:
    (machines / "away").touch()
    make_run(machines / "b", "far")
    with fleet([f"boxA:{machines}/a", f"boxB:{machines}/b"]) as folder:
        here = fleet_of(folder)
        assert here is not None and here.away == {"boxB": "No route to host"}
        assert names(folder) == ["boxA:done", "boxA:old"]
        (machines / "away").unlink()
        until(lambda: not here.away and "boxB:far" in names(folder))


async def test_the_list_says_who_is_away_and_opens_what_is_there(machines: Path) -> None:
    (machines / "away").touch()
    with fleet([f"boxA:{machines}/a", f"boxB:{machines}/b"]) as folder:
        app = CockpitApp(runs_dir=folder)
        async with app.run_test(size=(140, 40), notifications=True) as pilot:
            await until_shown(pilot, lambda: "boxB is away" in screen_text(app))
            await until_shown(pilot, lambda: "boxA:done" in screen_text(app))
            await pilot.press("d")
            await until_shown(pilot, lambda: "on other machines" in toasts(app)[-1])
            app.screen.query_one("Table").go_to("boxA:done")
            await pilot.press("enter")
            await until_shown(pilot, lambda: isinstance(app.screen, DashboardScreen))
            await until_shown(
                pilot, lambda: "30 / 100" in screen_text(app) or "loss" in screen_text(app)
            )
            assert app.session is not None and app.session.run_dir.name == "boxA:done"
            await until_shown(pilot, lambda: app.session.series.last_step == 30)


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
