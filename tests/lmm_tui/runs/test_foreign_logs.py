"""A foreign log opens like a run: examined, drawn and followed, but not steered."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from made_runs import make_run
from textual.pilot import Pilot

from lmm_tui.cli import main
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.runs.session import RunSession

LINES = "".join(f"step: {step}, loss: {5 - step / 50}\n" for step in range(1, 101))


def test_a_log_that_says_nothing_of_its_end_is_a_file_and_takes_no_commands(
    tmp_path: Path,
) -> None:
    log = tmp_path / "train.log"
    log.write_text(LINES)
    session = RunSession(log)
    assert session.poll() and session.series.last_step == 100
    session.poll()
    assert (session.view.state, session.view.status.loss) == ("log file", 3.0)
    assert session.view.growing and not session.view.active
    reply = session.send("pause")
    assert not reply.ok and "takes no commands" in reply.message
    os.utime(log, (1e9, 1e9))
    assert session.poll() and session.view.state == "log file"
    assert not session.view.growing


def test_health_and_plot_find_out_what_a_path_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "train.log"
    log.write_text(LINES + "step: 101, loss: 90\n")
    assert main.run(["health", str(log)]) == 0
    assert "train/loss is 90 at step 101" in capsys.readouterr().out
    assert main.run(["plot", str(log), "--text"]) == 0
    assert capsys.readouterr().out


def test_a_run_of_that_name_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "runs", "train.log", rows=10)
    (tmp_path / "train.log").write_text(LINES)
    monkeypatch.chdir(tmp_path)
    assert main.run(["health", "train.log"]) == 0
    assert capsys.readouterr().out == "healthy up to step 10\n"


def test_what_is_no_log_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").touch()
    for path in (tmp_path, tmp_path / "a.png", tmp_path / "none"):
        assert main.run(["health", str(path)]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


async def test_the_cockpit_follows_a_foreign_log(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text(LINES)
    session = RunSession(log)
    app = CockpitApp(session)
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(pilot, lambda: session.series.last_step == 100)
        with log.open("a") as file:
            file.write("step: 101, loss: 2.5\n")
        await shown(pilot, lambda: session.series.last_step == 101)
        await shown(pilot, lambda: session.view.status.step == 101)


async def shown(pilot: Pilot[object], happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not happened():
            await pilot.pause(0.02)
