"""The whole path as a person takes it, in a real terminal: launch, watch, probe, leave."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from engine.rundir import RunDir
from lmm_tui.session import RunSession

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]

SETTINGS = {
    "train.batch_size": 2,
    "train.threads": 1,
    "data.seq_len": 64,
    "data.builtin_mb": 0.2,
    "log.sample_every": 0,
    "log.sample_tokens": 12,
    "log.tensorboard": "false",
}


class Tmux:
    """A tmux server of our own with one pane, which stays when its command has ended."""

    def __init__(self, folder, size=(200, 50)):
        self._socket = f"lmm-{os.getpid()}-{folder.name}"[:60]
        self._folder = folder
        width, height = size
        self._run("-f", os.devnull, "new-session", "-d", "-x", width, "-y", height, "sh")
        self._run("set", "-g", "remain-on-exit", "on")

    def _run(self, *args):
        return subprocess.run(
            ["tmux", "-L", self._socket, *map(str, args)],
            cwd=self._folder,
            # A size in the environment would count for more than that of the pane.
            env={name: os.environ[name] for name in os.environ.keys() - {"COLUMNS", "LINES"}}
            | {"PS1": "$ "},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        ).stdout

    def start(self, *words):
        program = "from lmm_tui.cli import main; main()"
        command = shlex.join([sys.executable, "-c", program, *map(str, words)])
        self._run("respawn-pane", "-k", "-c", self._folder, command)

    def press(self, *keys):
        self._run("send-keys", *keys)

    def screen(self):
        return self._run("capture-pane", "-p")

    def wait_for(self, *texts, timeout_s=90.0):
        deadline = time.monotonic() + timeout_s
        while not all(text in self.screen() for text in texts):
            assert time.monotonic() < deadline, self.screen()
            time.sleep(0.1)  # A terminal has nothing to wait on but its picture.
        return self.screen()

    def kill(self):
        self._run("kill-server")


@pytest.fixture
def tmux(tmp_path):
    server = Tmux(tmp_path)
    yield server
    server.kill()
    # Training outlives its terminal, which is what it is made for: a failed test must end it.
    for info in tmp_path.glob("runs/*/run.json"):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(RunDir(info.parent).read_info().pid)
            if str(tmp_path) in " ".join(process.cmdline()):
                process.kill()


def launch(tmux, tmp_path, steps):
    settings = {**SETTINGS, "data.cache_dir": tmp_path / "cache"}
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    tmux.start("launch", "--yes", "--name", "demo", "--device", "cpu", "--steps", steps, *words)
    return RunDir(tmp_path / "runs" / "demo")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_launch_watch_probe_and_stop_leaves_plots_checkpoint_and_samples(tmux, tmp_path):
    run = launch(tmux, tmp_path, steps=100_000)
    picture = tmux.wait_for("RUNNING", "EMA", "tok/s", "best")
    assert "ln V" in picture
    tmux.press("p")
    tmux.wait_for("samples · 4", "participation ratio")
    tmux.press("q")
    tmux.wait_for("Stop after this step, with a checkpoint")
    tmux.press("s")
    last = tmux.wait_for("go on")
    assert "stopped, step" in last and "lmm-tui resume demo" in last
    assert {path.name for path in run.plots.iterdir()} == {"training.png", "probes.png"}
    assert all(path.stat().st_size > 10_000 for path in run.plots.iterdir())
    checkpoint = max(run.checkpoints.iterdir())
    assert checkpoint.name == f"step-{run.read_status().step:09d}"
    assert len([row for row in lines(run.samples) if row["kind"] == "sample"]) == 4
    assert [event["kind"] for event in lines(run.events)][-1] == "end"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_a_killed_terminal_leaves_training_alone_and_no_screen_spinning(tmux, tmp_path):
    run = launch(tmux, tmp_path, steps=150)
    tmux.wait_for("RUNNING", "EMA")
    tmux.press("space")
    tmux.wait_for("PAUSED")
    process = psutil.Process(run.read_info().pid)
    tmux.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{process.pid}/fd/0").readlink() != Path(os.devnull):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # Paused, so that whatever CPU time is used now is the screen's.
    before = sum(process.cpu_times()[:2])
    time.sleep(2.0)
    assert sum(process.cpu_times()[:2]) - before < 0.2
    assert RunSession(run.path).send("resume").ok
    process.wait(90)
    status = run.read_status()
    assert (status.state, status.step) == ("finished", 150)
    assert (run.checkpoints / "step-000000150").is_dir()
    assert "state       finished" in run.output.read_text()
