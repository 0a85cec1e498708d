"""A foreign log opens like a run: examined, drawn and followed, but not steered."""

from __future__ import annotations

import html
import json
import os
import re
import time
import tomllib
from pathlib import Path

import pytest
from foreign_logs import wandb_exit, wandb_field, wandb_file, wandb_items
from looking import until
from made_runs import make_run

from lmm_tui.charts.chart import Chart
from lmm_tui.cli import main
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.widgets.table import Table
from lmm_tui.engine.run.reader import Reader

LINES = "".join(f"step: {step}, loss: {5 - step / 50}\n" for step in range(1, 101))


def test_a_log_that_says_nothing_of_its_end_is_a_file_and_takes_no_commands(
    tmp_path: Path,
) -> None:
    log = tmp_path / "train.log"
    log.write_text(LINES)
    session = Reader(log)
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
    assert "loss is 90 at step 101" in capsys.readouterr().out
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
    session = Reader(log)
    app = CockpitApp(session)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: session.series.last_step == 100)
        with log.open("a") as file:
            file.write("step: 101, loss: 2.5\n")
        await until(pilot, lambda: session.series.last_step == 101)
        await until(pilot, lambda: session.view.status.step == 101)


def screen_of(log: Path, folder: Path, size: str = "150x42") -> str:
    """The words on the dashboard."""
    svg = folder / "screen.svg"
    assert main.run(["plot", str(log), "--screen", str(svg), "--size", size]) == 0
    text = re.sub("<[^>]+>", " ", re.sub("<style.*?</style>", "", svg.read_text(), flags=re.S))
    return html.unescape(text).replace("\u00a0", " ")


def test_the_screen_claims_nothing_that_the_log_does_not_say(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text(LINES)
    os.utime(log, (time.time() - 120, time.time() - 120))
    words = screen_of(log, tmp_path)
    assert "LOG FILE" in words and "console output" in words
    assert "last written 2 min ago" in words
    for claim in ("FINISHED", "RUNNING", " ran ", "ETA", "tokens", "/ 0", "probes", "samples",
                  "pause", "checkpoint", "process 0"):  # fmt: skip
        assert claim not in words.partition("LOG FILE")[2], claim  # The screens' names are above.


def test_what_the_log_says_is_on_the_screen(tmp_path: Path) -> None:
    log = tmp_path / "trainer_log.jsonl"
    rows = [
        {"current_steps": step, "total_steps": 40, "loss": 3.0, "timestamp": 1.7e9 + 60 * step}
        for step in (10, 20, 30, 20)
    ]
    log.write_text("".join(f"{json.dumps(row)}\n" for row in rows) + "torn {\n")
    words = screen_of(log, tmp_path)
    assert "30 / 40" in words and "75%" in words and "ran 20 min" in words
    assert "1 unreadable line" in words
    rows.append({"current_steps": 40, "total_steps": 40, "loss": 2.0, "timestamp": 1.7e9})
    log.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert "FINISHED" in screen_of(log, tmp_path)
    (tmp_path / "failed.log").write_text(
        LINES + "Traceback (most recent call last):\nValueError: no data\n"
    )
    words = screen_of(tmp_path / "failed.log", tmp_path)
    assert "FAILED" in words and "no data" in words


def test_steps_that_begin_again_are_said_on_the_screen_and_by_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "train.log"
    log.write_text("".join(f"epoch {1 + at // 5} - iter {at % 5} - loss 2.5\n" for at in range(15)))
    assert "begin again 2 times" in screen_of(log, tmp_path)
    capsys.readouterr()
    out = tmp_path / "out.jsonl"
    assert main.run(["export", str(log), "--to", "jsonl", "-o", str(out)]) == 0
    assert "the steps begin again 2 times" in capsys.readouterr().err
    steps = [json.loads(line)["step"] for line in out.read_text().splitlines()]
    assert steps == list(range(15))


def test_a_wandb_run_that_was_killed_has_not_finished(tmp_path: Path) -> None:
    rows = [
        wandb_field(2, wandb_items(1, {"_step": at, "_timestamp": 1.7e9, "loss": 2.5}))
        for at in range(9)
    ]
    for records, old, state in (
        (rows, True, "crashed"),
        (rows, False, "running"),
        ([*rows, wandb_exit(0)], False, "finished"),
        ([*rows, wandb_exit(1)], True, "failed"),
    ):
        log = tmp_path / "run-a.wandb"
        log.write_bytes(wandb_file(records))
        if old:
            os.utime(log, (1e9, 1e9))
        session = Reader(log)
        session.poll()
        session.poll()
        assert session.view.state == state and not session.view.active


def test_a_log_is_found_by_any_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = tmp_path / "home" / "logs"
    logs.mkdir(parents=True)
    (logs / "train.log").write_text(LINES)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "home")
    for path in ("logs", str(logs), "~/logs", "~/logs/train.log", "logs/../logs/"):
        assert main.run(["health", path]) == 0
        assert capsys.readouterr().out == "healthy up to step 100\n"
    assert main.run(["health", "/no/such/log"]) == 2
    assert "no such file or folder" in capsys.readouterr().err


def test_a_folder_of_logs_is_listed_as_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b/c"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "train.log").write_text(LINES)
    make_run(tmp_path, "own", rows=10)
    assert main.run(["plot", str(tmp_path), "--text"]) == 2
    said = capsys.readouterr().err
    assert "holds 2 runs" in said and "b/c/train.log" in said and said.count("\n") == 1
    assert main.run(["runs", "--runs-dir", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert "own" in table and "a/train.log" in table and "log file" in table
    assert re.search(r"b/c/train.log .* 100 +3\.000", table)


async def test_runs_of_a_folder_are_opened_and_overlaid(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.log").write_text(LINES)
    app = CockpitApp(runs_dir=tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: bool(app.screen.query(Table)))
        table = app.screen.query_one(Table)
        await until(pilot, lambda: len(table.rows) == 2)
        assert {row.key for row in table.rows} == {"a/train.log", "b/train.log"}
        await pilot.press("space", "space", "o")
        await until(pilot, lambda: bool(app.screen.query(Chart)))
        assert app.screen.query_one(Chart).title == "loss"
        await pilot.press("escape", "delete")
        assert (tmp_path / "a" / "train.log").exists()
        await pilot.press("enter")
        await until(pilot, lambda: app.session is not None)


@pytest.mark.parametrize("rows", [3, 900])
def test_a_log_without_a_loss_is_not_called_healthy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: int
) -> None:
    log = tmp_path / "results.csv"
    log.write_text("epoch,train/box_loss\n" + "".join(f"{at},1.5\n" for at in range(rows)))
    assert main.run(["health", str(log)]) == 0
    said = "nothing could be judged: no loss in this log; it has train/box_loss\n"
    assert capsys.readouterr().out == said
    assert "nothing could be judged" in screen_of(log, tmp_path)


def test_the_names_are_printed_in_the_form_of_the_file_that_adds_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert main.run(["names"]) == 0
    printed = capsys.readouterr().out
    assert str(tmp_path / "lmm-tui" / "names.toml") in printed.splitlines()[0]
    table = tomllib.loads(printed)
    assert "lm loss" in table["train/loss"] and "valid loss" in table["val/loss"]
    (tmp_path / "lmm-tui").mkdir()
    (tmp_path / "lmm-tui" / "names.toml").write_text('"train/loss" = ["mine"]\n')
    assert main.run(["names", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["train/loss"][0] == "mine"
