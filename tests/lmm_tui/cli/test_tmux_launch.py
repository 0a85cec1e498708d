"""The whole path as a person takes it, in a real terminal: from the form to a stopped run."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from repository import ROOT

from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]

PROGRAM = f"""
import sys
sys.path.append({str(ROOT / "tests" / "support")!r})
from forked_children import fork_children
from lmm_tui import child_process
from lmm_tui.cli.main import main
child_process.subprocess = fork_children([])
main()
"""
"""On a terminal of its own, but what it starts need not import torch first."""
SETTINGS = {
    "train.batch_size": 2,
    "train.threads": 1,
    "data.seq_len": 64,
    "data.builtin_mb": 0.2,
    "log.sample_every": 0,
    "log.sample_tokens": 12,
    "log.tensorboard": "false",
}
SMALL = {"model.hidden_size": 32, "model.num_layers": 2}


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
            timeout=120,
            check=False,
        ).stdout

    def start(self, *words):
        command = shlex.join([sys.executable, "-c", PROGRAM, *map(str, words)])
        self._run("respawn-pane", "-k", "-c", self._folder, command)

    def press(self, *keys):
        self._run("send-keys", *keys)

    def screen(self):
        return self._run("capture-pane", "-p")

    def printed(self):
        """The screen and what went off it: that the pane is dead scrolls it by a line."""
        return self._run("capture-pane", "-p", "-S", "-")

    def wait_for(self, *texts, timeout_s=120.0):
        deadline = time.monotonic() + timeout_s
        while not all(text in self.screen() for text in texts):
            assert time.monotonic() < deadline, self.screen()
            time.sleep(0.1)  # A terminal has nothing to wait on but its picture.
        return self.screen()

    def wait_gone(self, text, timeout_s=120.0):
        deadline = time.monotonic() + timeout_s
        while text in self.screen():
            assert time.monotonic() < deadline, self.screen()
            time.sleep(0.1)

    def kill(self):
        self._run("kill-server")


@pytest.fixture
def tmux(tmp_path, slow_steps):
    server = Tmux(tmp_path)
    yield server
    server.kill()
    # Training outlives its terminal, which is what it is made for: a failed test must end it.
    for info in tmp_path.glob("runs/*/run.json"):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(RunDir(info.parent).read_info().pid)
            if process.cwd() == str(tmp_path):
                process.kill()


def _last(run: RunDir, name: str) -> float:
    """The last value of a metric."""
    return next(row[name] for row in reversed(lines(run.metrics)) if name in row)


def launch(tmux, tmp_path, *words, **settings):
    settings = {**SETTINGS, "data.cache_dir": tmp_path / "cache"} | settings
    words += tuple(word for key, value in settings.items() for word in ("--set", f"{key}={value}"))
    tmux.start("launch", "--device", "cpu", *words)
    return RunDir(tmp_path / "runs" / "demo")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def wait_until(tmux, condition, timeout_s=120.0):
    """Wait for what a run writes."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, tmux.screen()
        time.sleep(0.1)


def go_to_dashboard(tmux):
    """Leave one thing after the other. An escape is never the last key, even of those that the
    program has yet to read: together with the next it would be an alt."""
    deadline = time.monotonic() + 120
    while "layer grad norms" not in tmux.screen():
        assert time.monotonic() < deadline, tmux.screen()
        tmux.press("Escape")
        time.sleep(0.3)
        tmux.press("1")
        time.sleep(0.3)


def replace_text(tmux, before, text):
    """Textual clears a line only after it has put in what was typed behind the key for that."""
    tmux.press("C-a", "C-k")
    tmux.wait_gone(before)
    tmux.press("-l", text)


def test_the_whole_path_from_the_form_to_the_pictures_of_a_stopped_run(tmux, tmp_path):
    run = launch(tmux, tmp_path, "--detach", "--steps", "1000000", **SMALL)
    # Configure: from the preset up to the name, which the estimate beside it takes up.
    tmux.wait_for("configuration", "estimate", "model size")
    tmux.press("Up", "Up")
    tmux.wait_for("default unset · name")  # Below: it has the focus now.
    tmux.press("-l", "demo")
    tmux.wait_for("runs/demo", "--name demo")
    tmux.press("F5")
    tmux.wait_for("RUNNING", "smoothed", "tokens/s", "best", "random guess")

    # Look closer: zoom into the loss, with a cursor, and go back to everything.
    tmux.press("Tab", "z")
    tmux.wait_gone("layer grad norms")
    tmux.press("+", "+")
    tmux.wait_for("follow")
    tmux.press("S-Left", "S-Left")
    tmux.wait_for(" at ")
    tmux.press("0")
    tmux.wait_gone("follow")
    go_to_dashboard(tmux)

    # Question the model: probe, sample, chat.
    tmux.press("p")
    tmux.wait_for("samples · 4", "effective rank")
    tmux.press("3")
    tmux.wait_for("4 prompts", "1 step")
    tmux.press("p")
    tmux.wait_for("2 steps")
    tmux.press("i")
    tmux.wait_for("Prompt (the live model)")
    tmux.press("-l", "The cat")
    tmux.press("Enter")
    # Whatever it is, and on whichever line.
    wait_until(tmux, lambda: re.search(r"The cat\s*\S.*the live model", tmux.screen(), re.DOTALL))

    # Steer it: another learning rate, a pause, a checkpoint.
    go_to_dashboard(tmux)
    tmux.press("L")
    tmux.wait_for("Live settings")
    replace_text(tmux, "peak learning rate    0.", "5e-4")
    tmux.wait_for("→ 0.0005")
    tmux.press("Enter")
    tmux.wait_for("Apply after the current step")
    tmux.press("Enter")
    # A row may be that of a validation, which has none.
    wait_until(tmux, lambda: _last(run, "train/lr") <= 5e-4)
    tmux.press("space")
    tmux.wait_for("PAUSED")
    paused_at = run.read_status().step
    tmux.press("c")
    wait_until(tmux, (run.checkpoints / f"step-{paused_at:09d}").is_dir)

    # Leave it, come back by the bare command, and train on what was saved.
    tmux.press("q")
    tmux.wait_for("Detach (training keeps running)")
    tmux.press("d")
    wait_until(tmux, lambda: "lmm-tui monitor demo" in tmux.printed())
    assert psutil.pid_exists(run.read_info().pid)
    tmux.start()
    tmux.wait_for("1 run", "demo")
    tmux.press("Enter")
    tmux.wait_for("PAUSED", "fine-tune from step")
    tmux.press("f")
    tmux.wait_for("configuration", f"step-{paused_at:09d}", "trains 1,000 steps")
    tmux.press("F5")
    tuned = RunDir(wait_for_another(tmux, run))
    wait_until(tmux, lambda: tuned.read_status().step >= 1)
    assert tuned.read_info().stage == "sft"
    tmux.wait_for("RUNNING", tuned.name)
    tmux.press("3")
    tmux.wait_for("prompts")
    tmux.press("i")
    tmux.wait_for("Message to the live model")
    tmux.press("-l", "2 + 3 =")
    tmux.press("Enter")
    wait_until(tmux, lambda: re.search(r"2 \+ 3 =\s*\S.*the live model", tmux.screen(), re.DOTALL))

    # End both: the first is stopped where it was paused, and its pictures are there.
    assert Reader(tuned.path).send("stop").ok and Reader(run.path).send("stop").ok
    wait_until(tmux, lambda: run.read_status().state == "stopped")
    wait_until(tmux, lambda: tuned.read_status().state == "stopped")
    drawn = [run.plots / name for name in ("training.png", "probes.png")]
    wait_until(tmux, lambda: all(path.exists() for path in drawn))
    assert all(path.stat().st_size > 10_000 for path in drawn)
    assert run.read_status().step == paused_at
    assert len([row for row in lines(run.samples) if row["kind"] == "sample"]) == 8
    assert [event["kind"] for event in lines(run.events)][-1] == "end"


def wait_for_another(tmux, run):
    """The folder of the run that is started beside `run`."""

    def others():
        return [found.parent for found in run.path.parent.glob("*/run.json")
                if found.parent != run.path]  # fmt: skip

    wait_until(tmux, others)
    return others()[0]


def cpu_share(process, seconds=2.0):
    """Of a core, in the time to come."""
    before = sum(process.cpu_times()[:2])
    time.sleep(seconds)
    return (sum(process.cpu_times()[:2]) - before) / seconds


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_a_killed_terminal_leaves_training_alone_and_no_screen_spinning(tmux, tmp_path):
    run = launch(tmux, tmp_path, "--yes", "--name", "demo", "--steps", "1000000", **SMALL)
    tmux.wait_for("RUNNING", "smoothed")
    tmux.press("space")
    tmux.wait_for("PAUSED")
    process = psutil.Process(run.read_info().pid)
    tmux.kill()
    deadline = time.monotonic() + 120
    while Path(f"/proc/{process.pid}/fd/0").readlink() != Path(os.devnull):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # Paused, so that whatever CPU time is used now is the screen's; it may still be ending.
    while cpu_share(process) > 0.1:
        assert time.monotonic() < deadline
    paused_at = run.read_status().step
    assert Reader(run.path).send("resume").ok
    while run.read_status().step <= paused_at:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert Reader(run.path).send("stop").ok
    process.wait(120)
    status = run.read_status()
    assert status.state == "stopped" and status.step > paused_at
    assert (run.checkpoints / f"step-{status.step:09d}").is_dir()
    assert "state       stopped" in run.output.read_text()
