"""What the screens claim of a run is so: its verdict, its history after a resume, its numbers."""

from __future__ import annotations

import json
import math
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_run import FakeRun
from looking import screen_text, settled, toasts, until, until_read
from made_runs import make_run

from lmm_tui.charts.chart import Chart
from lmm_tui.cli import main
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.screens.checkpoints_screen import CheckpointsScreen
from lmm_tui.cockpit.screens.dashboard_panels import marks_of
from lmm_tui.cockpit.widgets.event_list import EventList
from lmm_tui.cockpit.widgets.health_panel import HealthPanel
from lmm_tui.cockpit.widgets.samples_panel import SamplesPanel
from lmm_tui.engine.checkpoints.checkpoint_files import FORMAT, make_staging, put_in_place, seal
from lmm_tui.engine.config.sections.health_config import HealthConfig
from lmm_tui.engine.health.health_monitor import HealthMonitor
from lmm_tui.engine.run.events import EventLog, RunEvent
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.metrics import names

SIZE = (200, 50)


def diverged_row(step: int) -> dict[str, Any]:
    loss = 6.9 - step / 40 if step < 80 else 39.0 + math.sin(step)
    ppl = math.exp(min(loss, 20))
    return {"step": step, "time": 1e9 + step, "train/loss": loss, "train/ppl": ppl}


def diverged(path: Path, state: str = "finished") -> FakeRun:
    run = FakeRun(path, total=300)
    for step in range(1, 301):
        run.metrics.write(diverged_row(step))
    run.write_status(state=state, step=300, loss=39.5)
    return run


# The verdict stands beside the state


async def test_a_diverged_run_is_red_although_it_finished(tmp_path: Path) -> None:
    run = diverged(tmp_path / "wild")
    app = CockpitApp(Reader(run.dir.path), runs_dir=tmp_path)
    async with app.run_test(size=SIZE) as pilot:
        await until_read(pilot, "✗ diverged at step 95")
        assert "✓ FINISHED" in screen_text(app)
        assert "worse than random guessing" in screen_text(app)
        await pilot.press("2")
        await until_read(pilot, "✗ diverged @95")
    run.close()


def test_commands_tell_the_verdict_of_a_diverged_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    diverged(tmp_path / "wild").close()
    folder = ["--runs-dir", str(tmp_path)]
    assert main.run(["status", "wild", *folder]) == 0
    assert "worse than random guessing" in capsys.readouterr().out
    assert main.run(["status", "wild", *folder, "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)["verdict"]
    assert (verdict["level"], verdict["headline"], verdict["step"]) == ("error", "diverged", 95)
    assert main.run(["runs", *folder]) == 0
    assert "✗ diverged @95" in capsys.readouterr().out
    assert main.run(["runs", *folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["verdict"] == verdict
    assert main.run(["health", "wild", *folder, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["level"], found["headline"]) == ("error", "diverged")


def test_what_a_live_run_records_is_what_is_read_from_its_rows(tmp_path: Path) -> None:
    run = diverged(tmp_path / "wild")
    events = EventLog(run.dir)
    monitor = HealthMonitor(HealthConfig(), events, own_loop=True, from_scratch=True)
    monitor.hold_to(run.info.references)
    told: list[dict[str, Any]] = []
    monitor.on_verdict = lambda verdict: told.append(verdict.record())
    for step in range(1, 301):
        row = diverged_row(step)
        monitor.observe(step, {name: row[name] for name in ("train/loss", "train/ppl")})
    assert told[0]["level"] == "ok" and len(told) < 10  # Not at every row.
    from lmm_tui.runs.run_verdict import verdict_on

    computed = verdict_on(run.dir, run.dir.read_status(), "finished")
    run.write_status(verdict=told[-1])
    recorded = verdict_on(run.dir, run.dir.read_status(), "finished")
    assert recorded.record() == computed.record()
    events.close()
    run.close()


async def test_a_crash_is_the_first_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = FakeRun(tmp_path / "gone", pid=2**22 + 1)
    run.train(1, 200)
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=SIZE) as pilot:
        await until_read(pilot, "CRASHED")
        await until_read(pilot, "exited without a message")
        panel = app.screen.query_one(HealthPanel)
        assert "1 active" in str(panel.border_title)
        assert "healthy" not in screen_text(app)
    assert main.run(["health", "gone", "--runs-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("error: the process exited")
    run.close()


# Lines and numbers


async def test_the_bold_line_lies_on_the_data_from_the_first_steps(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "young")
    run.train(1, 100)
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=SIZE) as pilot:
        await until_read(pilot, "smoothed")
        chart = next(one for one in app.screen.query(Chart) if one.title == "loss")
        assert names.TRAIN_LOSS_EMA not in chart.metrics
        losses = app.session.series.get(names.TRAIN_LOSS)
        assert losses is not None
        shown = screen_text(app).split("smoothed ")[1].split()[0]
        assert float(shown) == pytest.approx(np.mean(losses.values[-3:]), abs=1e-3)
        await settled(pilot)
    run.close()


async def test_a_perplexity_beyond_the_cap_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = diverged(tmp_path / "wild")
    async with CockpitApp(Reader(run.dir.path)).run_test(size=SIZE) as pilot:
        await until_read(pilot, "> 4.85e8")
    assert main.run(["status", "wild", "--runs-dir", str(tmp_path)]) == 0
    assert "PPL > 4.85e8" in capsys.readouterr().out
    run.close()


async def test_a_zoomed_chart_names_the_axis_that_it_means(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "axes")
    run.train(1, 100)
    async with CockpitApp(Reader(run.dir.path)).run_test(size=SIZE) as pilot:
        await until_read(pilot, "smoothed")
        await pilot.press("enter", "x", "s", "s", "shift+left")
        await until_read(pilot, "x: tokens")
        text = screen_text(pilot.app)
        assert "smoothing 12%" in text and "at 9" not in text
        places = re.findall(r"step (\d+) · (\d+)k tokens", text)
        assert places and all(abs(int(step) * 4.096 - int(k)) < 5 for step, k in places)
    run.close()


def test_a_stage_is_summed_up_by_its_own_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path, "g", stage="grpo", loss=1e-9, val_loss=None, numbers={names.REWARD: 0.3125})
    numbers = {"dpo/accuracy": 0.71, "dpo/margin": 0.4}
    make_run(tmp_path, "d", stage="dpo", loss=0.0, val_loss=None, numbers=numbers)
    assert main.run(["runs", "--runs-dir", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert "0.312 reward" in table and "0.710 accuracy" in table and "0.000" not in table
    assert main.run(["status", "d", "--runs-dir", str(tmp_path)]) == 0
    sheet = capsys.readouterr().out
    assert "accuracy 0.710, reward margin 0.400" in sheet and "loss" not in sheet


# History after a resume


def resumed(path: Path) -> FakeRun:
    """Trained to step 200, killed, and resumed from step 94."""
    run = FakeRun(path)
    run.train(1, 200)
    run.event(140, "command", "must be a number", "warning", args={"lr": "abc"}, ok=False)
    run.event(100, "command", "set: peak learning rate 0.003 → 0.001", args={}, ok=True)
    run.event(94, "resume", "from step-000000094", time=1e9 + 500)
    run.metrics.write({"step": 95, "time": 1e9 + 501, "train/loss": 5.0})
    run.write_status(step=95)
    return run


async def test_events_and_samples_of_abandoned_steps_are_set_apart(tmp_path: Path) -> None:
    run = resumed(tmp_path / "twice")
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=SIZE) as pilot:
        await until_read(pilot, "events of abandoned steps")
        text = str(app.screen.query_one(EventList).query_one("Prose").content)
        kept, apart = text.split("events of abandoned steps")
        assert "from step-000000094" in kept and "step-000000200" not in kept
        assert "step-000000200" in apart and "step-000000200" not in kept
        samples = str(app.screen.query_one(SamplesPanel).query_one("Prose").content)
        kept, apart = samples.split("samples of abandoned steps")
        assert "step 50" in kept and "step 200" not in kept and "step 200" in apart
        assert [mark.step for mark in marks_of(app.session.events)] == [94]
        await pilot.press("3")
        await until_read(pilot, "step 200, abandoned")
    run.close()


def test_a_refused_command_leaves_no_mark() -> None:
    refused = RunEvent(140, "command", "must be a number", details={"ok": False})
    failed = RunEvent(141, "command", "set: no such thing", details={"ok": False})
    done = RunEvent(142, "command", "set: clip at norm 1 → 2", details={"ok": True})
    assert [mark.step for mark in marks_of([refused, failed, done])] == [142]


def test_the_time_of_a_resumed_run_is_a_total(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = time.time()
    make_run(tmp_path, "twice", started=now - 90, earlier_s=300.0, heartbeat=now)
    assert main.run(["status", "twice", "--runs-dir", str(tmp_path)]) == 0
    assert "6 min 30 s, 1 min 30 s of it since the resume" in capsys.readouterr().out


def saved_at(run: RunDir, step: int, **state: Any) -> None:
    target = run.checkpoints / f"step-{step:09d}"
    run.checkpoints.mkdir(exist_ok=True)
    staging = make_staging(target)
    seal(staging, {"format": FORMAT, "step": step, "tokens": 0, "loss": 5.0, **state})
    put_in_place(staging, target)


async def test_a_checkpoint_says_where_its_validation_loss_was_measured(tmp_path: Path) -> None:
    run = make_run(tmp_path, "saved", rows=20)
    run.config.write_text("[log]\nkeep = 3\nkeep_best = 1\nkeep_every = 0\n")
    saved_at(run, 50, val_loss=5.3, val_step=50)
    saved_at(run, 94, val_loss=5.1955, val_step=50)
    app = CockpitApp(Reader(run.path))
    async with app.run_test(size=(120, 30)) as pilot:
        app.push_screen(CheckpointsScreen(run))
        await until_read(pilot, "5.196 @50")
        lines = screen_text(app).splitlines()
        borrowed = next(line for line in lines if "5.196 @50" in line)
        assert "best" not in borrowed
        assert "best" in next(line for line in lines if "5.300" in line)


async def test_a_live_change_is_shown_as_such_among_the_differences(tmp_path: Path) -> None:
    for name in ("first", "second"):
        run = make_run(tmp_path, name, rows=5)
        run.config.write_text("[optim]\nlr = 0.003\nclip = 1.0\n")
    changes = [{"step": 100, "key": "optim.lr", "before": 0.003, "after": 0.001}]
    events = EventLog(RunDir(tmp_path / "first"))
    events.write("command", "set: peak learning rate 0.003 → 0.001", step=100, changes=changes)
    events.close()
    app = CockpitApp(runs_dir=tmp_path)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_read(pilot, "second")
        await pilot.press("space", "down", "space", "D")
        await until_read(pilot, "0.003→0.001")
        await pilot.press("right_square_bracket", "right_square_bracket")
        await until_read(pilot, "0.003 → 0.001 @100")


async def test_a_run_that_was_away_for_a_moment_comes_back(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "mine")
    run.train(1, 40)
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=(120, 30)) as pilot:
        await until_read(pilot, "40 / 1,000")
        away = tmp_path / "away"
        run.dir.path.rename(away)
        await until_read(pilot, "updates resume when the folder is back")
        away.rename(run.dir.path)
        run.train(41, 60)
        await until_read(pilot, "60 / 1,000")
        await until(pilot, lambda: "when the folder is back" not in screen_text(app))
    run.close()


async def test_a_command_is_shown_as_well_as_sent_to_the_clipboard(tmp_path: Path) -> None:
    app = CockpitApp(runs_dir=tmp_path)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("8")
        await until(pilot, lambda: type(app.screen).__name__ == "ConfigureScreen")
        app.screen.action_copy()
        await until(pilot, lambda: bool(toasts(app)))
        assert "OSC 52" in toasts(app)[-1] and "lmm-tui train" in toasts(app)[-1]
