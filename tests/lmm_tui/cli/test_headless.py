"""A run without a cockpit: what is printed, how it ends, and what a signal does to it."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from forked import Forked
from made_runs import make_run
from processes import PROGRAM, until
from rich.cells import cell_len
from small_runs import SMALLEST

from lmm_tui.cli import main
from lmm_tui.cli.progress_printer import ProgressPrinter, progress_line, sample_line
from lmm_tui.engine.run.checkpoint_names import list_checkpoints
from lmm_tui.engine.run.find_run import find_run
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import RunStatus
from lmm_tui.engine.run.samples import RunSample

Capture = pytest.CaptureFixture[str]


class Screen(io.StringIO):
    """A terminal's output stream."""

    def isatty(self) -> bool:
        return True

    def shown(self) -> list[str]:
        """The lines that are left once carriage returns have done their work."""
        lines = []
        for line in self.getvalue().split("\n"):
            cells = ""
            for part in line.split("\r"):
                cells = part + cells[len(part) :]
            lines.append(cells.rstrip())
        return lines


# -- the progress line -----------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    monkeypatch.setenv("COLUMNS", "60")
    return make_run(tmp_path, rows=5, state="running", step=5, eta_s=95.0, tokens_per_s=18_234.0)


def event(run: RunDir, **fields: object) -> None:
    with run.events.open("a", encoding="utf-8") as file:
        file.write(json.dumps(fields) + "\n")


def test_the_progress_line_says_how_far_how_well_and_how_fast(run: RunDir) -> None:
    session = Reader(run.path)
    session.poll()
    assert progress_line(session.view, session.series) == (
        "step 5/100  5%  loss 2.500  val 2.750  lr 1.00e-03  18.2k tok/s  1 min 35 s to go"
    )


def test_under_reinforcement_the_reward_is_what_counts(run: RunDir) -> None:
    session = Reader(run.path)
    session.series.append({"step": 400, "grpo/reward": 0.625, "train/loss": 1e-9})
    line = progress_line(replace(session.view, state="running"), session.series)
    assert "reward 0.625" in line
    assert "loss" not in line
    details = {"answer": True, "reward": 1.0}
    sample = RunSample(3, prompt="1 + 1?", text="2", details=details)
    assert sample_line(sample) == "step 3: sample (reward 1): 1 + 1? → 2"
    assert sample_line(RunSample(3, prompt="Once ", text="upon")).endswith("Once upon")


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (RunStatus(), "starting: loading"),
        (RunStatus(activity="tokenising 43 %"), "starting: tokenising 43 %"),
        (RunStatus("paused", 9, 10), "step 9/10  90%  paused"),
        (RunStatus("running", 9, 10, activity="validating"), "step 9/10  90%  validating"),
        (RunStatus(activity="reading \x1b[2J.txt"), "starting: reading ␛[2J.txt"),
    ],
)
def test_the_progress_line_says_what_it_does_meanwhile(
    tmp_path: Path, status: RunStatus, line: str
) -> None:
    run = make_run(tmp_path, state="running")
    run.write_status(replace(status, heartbeat=time.time()))
    session = Reader(run.path)
    assert progress_line(session.view, session.series) == line


def test_on_a_terminal_one_line_is_written_over(run: RunDir) -> None:
    screen = Screen()
    progress = ProgressPrinter(Reader(run.path), screen)
    for step in (6, 7, 8):
        run.write_status(RunStatus("running", step, 100, heartbeat=time.time()))
        progress.look()
    [line] = screen.shown()
    assert line.startswith("step 8/100")
    assert all(cell_len(part) <= 59 for part in screen.getvalue().split("\r"))


def test_lines_that_stay_do_not_mix_with_the_progress_line(run: RunDir) -> None:
    screen = Screen()
    progress = ProgressPrinter(Reader(run.path), screen)
    progress.look()
    event(run, step=5, kind="checkpoint", level="info", message="step-000000005")
    progress.look()
    progress.print("goodbye")
    assert screen.shown()[:2] == ["step 5: checkpoint: step-000000005", "goodbye"]
    assert screen.shown()[2].startswith("step 5/100")
    progress.end()
    assert screen.shown()[2] == ""


def test_without_a_terminal_lines_come_now_and_then(run: RunDir) -> None:
    out = io.StringIO()
    progress = ProgressPrinter(Reader(run.path), out)
    for step in range(6, 30):
        run.write_status(RunStatus("running", step, 100, heartbeat=time.time()))
        progress.look()
    assert out.getvalue() == "step 6/100  6%  lr 1.00e-03\n"


def test_alerts_and_samples_are_shown_harmlessly_and_old_news_is_not(run: RunDir) -> None:
    event(run, step=1, kind="start", level="info", message="long ago")
    out = io.StringIO()
    progress = ProgressPrinter(Reader(run.path), out)
    event(run, step=4, kind="alert", level="error", message="loss is NaN\x1b[31m")
    event(run, step=4, kind="validation", level="info", message="val loss 2")
    event(run, step=4, kind="eval", level="info", message="old", numbers={"val/loss": 2})
    event(run, step=4, kind="eval", level="info", message="step 3: arc_easy 0.27")
    sample = {"step": 5, "kind": "sample", "prompt": "小", "text": "兔\n"}
    run.samples.write_text(json.dumps(sample) + "\n")
    progress.look()
    said = out.getvalue().splitlines()
    assert said[:3] == [
        "!! step 4: alert: loss is NaN␛[31m",
        "step 4: eval: step 3: arc_easy 0.27",
        "step 5: sample: 小兔⏎",
    ]
    assert len(said) == 4


def test_a_reader_who_has_gone_does_not_end_the_run(run: RunDir) -> None:
    """In a process of its own, since it points the standard streams elsewhere."""
    program = (
        "import os, sys\nfrom lmm_tui.cli.progress_printer import ProgressPrinter\n"
        "from lmm_tui.engine.run.reader import Reader\n"
        f"progress = ProgressPrinter(Reader({str(run.path)!r}), sys.stdout)\n"
        "progress.print('into the void')\nprogress.print('still here')\n"
    )
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run([sys.executable, "-c", program], stdout=write_end, check=False)
    os.close(write_end)
    assert done.returncode == 0
    assert "still here" in run.output.read_text()


# -- whole runs ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def token_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def small(tmp_path: Path, token_cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Flags of a run that takes a second, in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    settings = {
        **SMALLEST,
        "data.cache_dir": f"'{token_cache}'",
        "train.batch_size": 4,
        "log.val_every": 5,
        "log.val_batches": 2,
        "log.sample_every": 0,
        "log.tensorboard": "false",
    }
    flags = ["--device", "cpu", "--name", "small"]
    return flags + [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def status(name: str = "small") -> RunStatus:
    return find_run(name, "runs").read_status()


@pytest.mark.usefixtures("empty_pages")
def test_train_goes_from_flags_to_pictures_and_can_go_on(small: list[str], capsys: Capture) -> None:
    assert main.run(["train", *small, "--steps", "12"]) == 0
    shown = capsys.readouterr().out
    run = RunDir("runs/small")
    assert "loss, nats" in shown
    assert "finished, step 12 of 12 (100%)" in shown
    assert "runs/small/checkpoints/step-000000012" in shown
    for picture in run.plots.glob("*.png"):
        assert picture.name in shown
    assert {path.name for path in run.plots.iterdir()} == {"training.png", "probes.png"}
    assert "lmm-tui resume small --steps 24" in shown

    assert main.run(["train", "--resume", "small", "--steps", "20"]) == 0
    shown = capsys.readouterr().out
    assert "finished, step 20 of 20 (100%)" in shown
    assert "step 12: resume: from step-000000012" in shown
    assert "step-000000012\n" not in shown.split("resume", maxsplit=1)[0], "old news"

    assert main.run(["train", "--resume", "small", "--steps", "20"]) == main.USER_ERROR
    assert main.run(["train", *small]) == main.USER_ERROR
    assert status().step == 20


@pytest.mark.usefixtures("empty_pages")
def test_launch_without_a_terminal_says_so_and_trains(small: list[str], capsys: Capture) -> None:
    assert main.run(["launch", *small, "--steps", "3", "--yes"]) == 0
    out, err = capsys.readouterr()
    assert err == "not a terminal: training without the cockpit\n"
    assert "finished, step 3 of 3" in out


@pytest.fixture
def signal_at_step(tmp_path: Path) -> Iterator[Callable[[int, int], None]]:
    """Sends this process a signal once the run `small` has reached a step."""
    threads = []

    def arrange(number: int, step: int) -> None:
        def wait() -> None:
            until(lambda: RunDir(tmp_path / "runs/small").read_status().step >= step)
            os.kill(os.getpid(), number)

        threads.append(threading.Thread(target=wait))
        threads[-1].start()

    yield arrange
    for thread in threads:
        thread.join()


@pytest.mark.usefixtures("empty_pages")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_with_a_checkpoint(
    number: int,
    small: list[str],
    signal_at_step: Callable[[int, int], None],
    capsys: Capture,
) -> None:
    before = signal.getsignal(number)
    signal_at_step(number, 2)
    code = main.run(["train", *small, "--steps", "100000"])
    assert code == (0 if number == signal.SIGTERM else 128 + number)
    assert signal.getsignal(number) is before
    shown = capsys.readouterr().out
    assert "stopping after this step with a checkpoint" in shown
    [checkpoint] = list_checkpoints(RunDir("runs/small").checkpoints)
    assert str(checkpoint) in shown
    assert status().state == "stopped"
    assert f"step {status().step} of 100000" in shown
    assert "lmm-tui resume small\n" in shown


def test_what_cannot_be_trained_is_one_sentence(small: list[str], capsys: Capture) -> None:
    Path("short.txt").write_text("too short")
    assert main.run(["train", *small, "--data", "short.txt"]) == main.USER_ERROR
    out, err = capsys.readouterr()
    assert err.startswith("lmm-tui: ") and err.count("\n") == 1
    assert "Traceback" not in out + err
    assert not Path("runs/small").exists(), "its name is free"


@pytest.mark.usefixtures("empty_pages")
def test_a_crash_shows_its_traceback(
    small: list[str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lmm_tui.engine.training.checkpointing import Checkpointer

    monkeypatch.setattr(Checkpointer, "begin", lambda self: 1 / 0)
    assert main.run(["train", *small, "--steps", "2"]) == 1
    out, err = capsys.readouterr()
    assert "Traceback" in err and "ZeroDivisionError" in err
    assert "failed, step 2 of 2" in out


# -- runs in processes of their own ------------------------------------------------------------


def rows(run: RunDir) -> int:
    return run.metrics.read_bytes().count(b"\n") if run.metrics.exists() else 0


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once(small: list[str]) -> None:
    training = subprocess.Popen(
        [*PROGRAM, "train", *small, "--steps", "100000"], stdout=subprocess.PIPE, text=True
    )
    run = RunDir("runs/small")
    assert training.stdout is not None
    assert training.stdout.readline() == "run runs/small\n"
    training.send_signal(signal.SIGINT)  # While torch is imported: nothing answers for a while.
    assert any("stopping" in line for line in training.stdout)
    training.send_signal(signal.SIGINT)
    training.communicate(timeout=240)
    assert training.returncode == 128 + signal.SIGINT
    assert run.derived_state(run.read_info(), run.read_status()) == "crashed"


@pytest.mark.usefixtures("empty_pages")
@pytest.mark.slow
def test_a_hang_up_lets_the_run_go_on_unseen(small: list[str]) -> None:
    """The terminal is closed under a run, as a lost ssh does."""
    master, terminal = pty.openpty()
    # The first terminal that a session opens becomes its own, the one whose end it is told of.
    own_it = "import os; os.close(os.open(os.ttyname(0), os.O_RDWR))"
    program = ["-c", f"{own_it}; {PROGRAM[-1]}", "train", *small, "--steps", "100000"]
    streams = [terminal] * 3
    training = Forked(program, Path.cwd(), os.environ, ["torch._dynamo"], streams, session=True)
    os.close(terminal)
    run = RunDir("runs/small")
    drain = threading.Thread(target=_drain, args=(master, lambda: rows(run) > 2))
    drain.start()
    drain.join()
    os.close(master)
    seen = rows(run)
    until(lambda: rows(run) > seen + 5)
    assert training.poll() is None
    assert main.run(["send", "small", "stop"]) == 0
    assert training.wait() == 0
    assert "stopped, step" in run.output.read_text()


def _drain(master: int, done: Callable[[], bool]) -> None:
    """Read a terminal so that its writer never blocks."""
    os.set_blocking(master, False)

    def step() -> bool:
        try:
            os.read(master, 65536)
        except BlockingIOError:
            pass
        return done()

    until(step)


def test_detached_says_why_it_could_not_start(small: list[str], capsys: Capture) -> None:
    make_run(Path("runs"), "small")
    assert main.run(["launch", *small, "--detach"]) == main.USER_ERROR
    assert "runs/small: holds a run already" in capsys.readouterr().err
