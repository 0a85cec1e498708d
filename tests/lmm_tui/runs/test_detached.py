"""A run that outlives its process: SIGTERM in time, kills, and what resumes it."""

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from forked import Forked
from forked_children import ForkedPopen
from processes import PROGRAM, until
from small_runs import SMALLEST

from lmm_tui.cli import main
from lmm_tui.engine.run.checkpoint_names import list_checkpoints
from lmm_tui.engine.run.control_client import send
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Flags of a run that takes a second, in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    settings = {
        **SMALLEST,
        "data.cache_dir": f"'{tmp_path}/cache'",
        "train.batch_size": 4,
        "log.val_every": 0,
        "log.probe_every": 0,
        "log.sample_every": 0,
        "log.checkpoint_every": 5,
        "log.tensorboard": "false",
    }
    flags = ["--device", "cpu", "--name", "small"]
    return flags + [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def losses(run: RunDir) -> dict[int, float]:
    session = Reader(run.path)
    session.poll()
    series = session.series.get("train/loss")
    assert series is not None
    return dict(zip(series.steps.tolist(), series.values.tolist(), strict=True))


@pytest.mark.usefixtures("empty_pages")
def test_resume_goes_on_with_the_newest_run(small: list[str], capsys: Capture) -> None:
    assert main.run(["train", *small, "--steps", "7"]) == 0
    assert main.run(["resume", "--steps", "12"]) == 0
    run = RunDir("runs/small")
    assert run.read_status().step == 12 and run.read_info().resumed_steps == [7]
    assert sorted(losses(run)) == list(range(1, 13))
    assert main.run(["resume", "small"]) == main.USER_ERROR
    assert "nothing left to train, step 12 of 12" in capsys.readouterr().err


@pytest.mark.usefixtures("empty_pages")
def test_resume_says_what_it_cannot_go_on_with(small: list[str], capsys: Capture) -> None:
    assert main.run(["resume"]) == main.USER_ERROR
    assert "holds no runs" in capsys.readouterr().err
    assert main.run(["train", *small, "--steps", "2"]) == 0
    assert main.run(["resume", "--retries", "2", "--steps", "4"]) == main.USER_ERROR
    assert "add --detach" in capsys.readouterr().err


@pytest.mark.slow
def test_sigterm_ends_in_time_even_if_a_step_does_not(small: list[str]) -> None:
    flags = [*small, "--steps", "100000", "--grace", "0.5"]
    training = subprocess.Popen([*PROGRAM, "train", *flags], stdout=subprocess.PIPE, text=True)
    assert training.stdout is not None
    assert training.stdout.readline() == "run runs/small\n"
    # While torch is imported no step ends; that takes longer than the grace.
    training.send_signal(signal.SIGTERM)
    training.communicate(timeout=120)
    assert training.returncode == 128 + signal.SIGTERM


@pytest.mark.usefixtures("empty_pages")
@pytest.mark.slow
def test_a_run_that_is_suspended_waits_and_goes_on_without_a_gap(small: list[str]) -> None:
    # In a group of its own but in our session: to a session's leader ctrl+z means nothing.
    program = ["-c", f"import os; os.setpgid(0, 0); {PROGRAM[-1]}", "train", *small]
    training = Forked([*program, "--steps", "100000"], Path.cwd(), os.environ)
    run = RunDir("runs/small")
    until(lambda: run.exists() and run.read_status().step > 5)
    process = psutil.Process(training.pid)
    training.send_signal(signal.SIGTSTP)
    until(lambda: process.status() == psutil.STATUS_STOPPED)
    suspended_at = max(losses(run))
    training.send_signal(signal.SIGCONT)
    training.send_signal(signal.SIGWINCH)
    until(lambda: run.read_status().step > suspended_at + 5)
    training.send_signal(signal.SIGTERM)
    assert training.wait(120) == 0
    assert sorted(losses(run)) == list(range(1, run.read_status().step + 1))


@pytest.mark.slow
def test_a_killed_engine_is_resumed_and_sigterm_ends_it_for_good(
    small: list[str], capsys: Capture, forked_children: list[ForkedPopen]
) -> None:
    assert main.run(["launch", *small, "--detach", "--retries", "1", "--steps", "100000"]) == 0
    shown = capsys.readouterr().out
    supervisor = int(shown.split("process ")[1].split(";")[0])
    assert f"training in process {supervisor}; attach with `lmm-tui monitor small`" in shown
    assert os.getsid(supervisor) == supervisor != os.getpid()
    run = RunDir("runs/small")
    until(lambda: list_checkpoints(run.checkpoints))
    engine = run.read_info().pid
    assert engine != supervisor
    os.kill(engine, signal.SIGKILL)
    until(lambda: run.read_info().pid != engine and run.read_info().resumed_steps)
    resumed_at = run.read_info().resumed_steps[0]
    until(lambda: run.read_status().step > resumed_at)
    assert send(run.socket_path(), "probe").ok
    os.kill(supervisor, signal.SIGTERM)
    assert forked_children[0].wait() == 0
    status = run.read_status()
    assert status.state == "stopped"
    assert {path.name for path in run.plots.iterdir()} == {"training.png", "probes.png"}
    assert list_checkpoints(run.checkpoints)[-1].name == f"step-{status.step:09d}"
    assert sorted(losses(run)) == list(range(1, status.step + 1))
    session = Reader(run.path)
    session.poll()
    alerts = [event.message for event in session.events if event.kind == "alert"]
    # A busy machine may make a rule speak of the speed.
    told = [message for message in alerts if message.startswith("the engine")]
    assert told == ["the engine was ended by SIGKILL; resuming, attempt 1 of 1"]


@pytest.mark.slow
def test_an_engine_that_only_crashes_is_given_up(small: list[str], capsys: Capture) -> None:
    assert main.run(["launch", *small, "--detach", "--retries", "1", "--steps", "100000"]) == 0
    supervisor = int(capsys.readouterr().out.split("process ")[1].split(";")[0])
    run = RunDir("runs/small")
    first = run.read_info().pid
    os.kill(first, signal.SIGKILL)
    until(lambda: run.read_info().pid != first)
    os.kill(run.read_info().pid, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(supervisor, 0)[1]) != 0
    assert run.derived_state(run.read_info(), run.read_status()) == "crashed"
