"""No process outlives its terminal, or SIGTERM, at whatever instant; but training goes on.

`LMM_TEST_KILLS` says how many instants are tried, `LMM_TEST_SEED` repeats those of another time.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import psutil
import pytest
from fake_run import FakeRun
from fork_server import EMPTY_PAGES
from forked import started_server
from processes import PROGRAM, fake_ssh
from repository import ROOT
from terminals import Pty, Tmux

from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_dir_error import RunDirError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc"),
]

KILLS = int(os.environ.get("LMM_TEST_KILLS", "15"))
SEED = int(os.environ.get("LMM_TEST_SEED", time.time_ns() % 1_000_000))
AT_ONCE = 4
PATIENCE_S = 180.0
"""With a busy machine: what is waited for takes a second, or never comes."""

WATCHING = ("start", "running", "dialog", "resize", "quitting")
WHAT = [
    *(("monitor", phase) for phase in WATCHING),
    *(("remote", phase) for phase in ("start", "dialog", "resize", "reconnect", "silence")),
    *(("launch", phase) for phase in WATCHING),
]
START = {"monitor": 2.0, "remote": 4.0, "launch": 5.0}
"""How long a start takes among others, in starts of a monitor alone."""
FORKING = f"""
import sys
sys.path.append({str(ROOT / "tests/support")!r})
from forked_children import fork_own_children
fork_own_children({{}})
"""
"""What goes before our program where its training need not import torch first: it is forked."""
SMALL = {
    "model.hidden_size": 32,
    "model.num_layers": 2,
    "train.batch_size": 2,
    "train.threads": 1,
    "data.seq_len": 32,
    "data.builtin_mb": 0.1,
    "log.sample_every": 0,
    "log.tensorboard": "false",
}


@dataclass(frozen=True)
class Kill:
    """What is ended, when and how."""

    number: int
    command: str
    phase: str
    where: str
    """`pty`: session leader on its terminal; `shell`: the child of one; `tmux`."""
    how: str
    """`close` the terminal, SIGHUP, SIGTERM, or two of them at once; in tmux, `kill` its server."""
    share: float
    """Of the time that the phase takes."""
    answer: str
    """What is pressed in the phase."""

    @property
    def trains(self) -> bool:
        """Whether training has to go on after it."""
        stopped = self.phase == "quitting" and self.answer == "s"
        return (
            self.command == "launch"
            and self.phase != "start"
            and not (stopped or "SIGTERM" in self.how)
        )


def kills() -> Iterator[Kill]:
    """All commands and phases in turn, all else at random."""
    chance = random.Random(SEED)
    places = ["pty", "pty", "shell", *(["tmux"] if shutil.which("tmux") else [])]
    for number, (command, phase) in enumerate(islice(cycle(WHAT), KILLS)):
        where = chance.choice(places)
        how = {
            "pty": ["close", "close", "SIGHUP", "SIGTERM", "SIGHUP close", "SIGTERM close"],
            "shell": ["close"],
            "tmux": ["kill", "close"],
        }[where]
        answers = {"dialog": "?q\x10", "quitting": "ds" if command == "launch" else "d"}
        answer = chance.choice(answers.get(phase, " "))
        yield Kill(number, command, phase, where, chance.choice(how), chance.random(), answer)


class Attempt:
    """One kill, in a folder of its own."""

    def __init__(self, kill: Kill, folder: Path, watched: Path, monitor_s: float) -> None:
        self._kill, self._folder = kill, folder
        self._start_s = START[kill.command] * monitor_s
        self._run = RunDir(folder / "runs" / "demo")
        self._mark = f"LMM_TEST_MARK={folder}".encode()
        own = {"LMM_TEST_MARK": str(folder), EMPTY_PAGES: "yes"}
        env = os.environ | fake_ssh(folder) | own
        words = [*self._program(), *self._words(watched)]
        self._terminal = (
            Tmux(words, folder, env)
            if kill.where == "tmux"
            else Pty(words, folder, env, under_shell=kill.where == "shell")
        )

    def _program(self) -> list[str]:
        """A true one for a kill at its start."""
        if self._kill.command != "launch" or self._kill.phase == "start":
            return PROGRAM
        return [*PROGRAM[:2], FORKING + PROGRAM[2]]

    def _words(self, watched: Path) -> list[str]:
        if self._kill.command == "monitor":
            return ["monitor", str(watched)]
        if self._kill.command == "remote":
            return ["monitor", f"box:{watched}"]
        settings = SMALL | {"data.cache_dir": self._folder.parent / "cache"}
        sets = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        demo = ["--yes", "--device", "cpu", "--name", "demo", "--steps", "1000000"]
        return ["launch", *demo, *sets]

    def __call__(self) -> str:
        """What went wrong, if anything."""
        try:
            self._reach_the_instant()
            self._terminal.end(self._kill.how)
            self._look_what_is_left()
        except AssertionError as error:
            return f"{self._kill}: {error}"
        finally:
            self._terminal.close()
            for left in self._left():
                with suppress(psutil.NoSuchProcess):
                    left.kill()
        return ""

    def _reach_the_instant(self) -> None:
        kill, terminal = self._kill, self._terminal
        if kill.phase == "start":
            terminal.look(kill.share * self._start_s)
            return
        self._until("the screen", lambda: terminal.shows("RUNNING"))
        if kill.command == "launch":
            self._until("a step", lambda: self._run.read_status().step)
        if kill.phase == "running":
            terminal.look(kill.share)
        elif kill.phase == "resize":
            chance = random.Random(kill.share)
            deadline = time.monotonic() + kill.share
            while time.monotonic() < deadline:
                terminal.resize(chance.randint(40, 200), chance.randint(10, 50))
                terminal.look(0.02)
        elif kill.phase in ("reconnect", "silence"):
            if kill.phase == "silence":
                (self._folder / "silent").touch()
            os.kill(int((self._folder / "pids").read_text().split()[-1]), signal.SIGKILL)
            terminal.look(2 * kill.share)
        else:
            if kill.phase == "quitting":
                terminal.press("q")
                self._until("the dialog", lambda: terminal.shows("Detach"))
            terminal.press(kill.answer)
            terminal.look(kill.share / 2)

    def _look_what_is_left(self) -> None:
        may_train = self._kill.command == "launch" and "SIGTERM" not in self._kill.how
        if self._kill.trains:
            assert self._left(), "training ended"
        if may_train:
            before = self._step()
            self._until("the end or a step", lambda: self._step() > before or not self._left())
            assert self._left() or not self._kill.trains, "training ended"
            for left in self._left():
                with suppress(psutil.NoSuchProcess):
                    left.terminate()
        self._until("the end", lambda: not self._left())

    def _step(self) -> int:
        try:
            return self._run.read_status().step
        except RunDirError:
            return 0

    def _until(self, what: str, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}; {self._portrait()}"
            if not (self._terminal.is_open and self._terminal.look(0.1)):
                time.sleep(0.1)  # There is nothing to wait on: what is left is no child of ours.

    def _left(self) -> list[psutil.Process]:
        """Processes that came of this attempt; zombies have no environment and no folder.

        A forked one has the environment of the server, but works in our folder.
        """
        if isinstance(self._terminal, Pty):
            self._terminal.process.poll()
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError, psutil.NoSuchProcess):
                if entry.name.isdecimal() and (
                    self._mark in (entry / "environ").read_bytes().split(b"\0")
                    or (entry / "cwd").readlink() == self._folder
                ):
                    found.append(psutil.Process(int(entry.name)))
        return found

    def _portrait(self) -> str:
        """What is left, and what it does."""
        lines = []
        for process in self._left():
            with suppress(psutil.NoSuchProcess):
                share = process.cpu_percent(1.0)
                command = " ".join(process.cmdline())[-120:]
                threads = process.num_threads()
                lines.append(
                    f"{process.pid}: {share:.0f} % of a core, {threads} threads: {command}"
                )
        seen = self._terminal.seen[-500:] if isinstance(self._terminal, Pty) else b""
        return "\n  ".join([*lines, repr(seen)])


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Path]:
    """A run that stays alive."""
    run = FakeRun(tmp_path / "watched")
    run.train(1, 30)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(1):
            run.write_status()

    thread = threading.Thread(target=beat)
    thread.start()
    yield run.dir.path
    ended.set()
    thread.join()
    run.close()


def start_of_a_monitor(folder: Path, watched: Path) -> float:
    """How long it takes here and now."""
    began = time.monotonic()
    terminal = Pty([*PROGRAM, "monitor", str(watched)], folder, os.environ)
    try:
        while not terminal.shows("RUNNING"):
            assert time.monotonic() < began + PATIENCE_S
            terminal.look(0.01)
        return time.monotonic() - began
    finally:
        terminal.process.kill()
        terminal.process.wait()
        terminal.close()


@pytest.mark.timeout(600 + 10 * KILLS)
@pytest.mark.usefixtures("slow_steps")
def test_nothing_but_training_outlives_a_terminal_or_a_signal(
    watched: Path, tmp_path: Path
) -> None:
    print(f"LMM_TEST_SEED={SEED} LMM_TEST_KILLS={KILLS}")
    started_server()
    monitor_s = start_of_a_monitor(tmp_path, watched)

    def attempt(kill: Kill) -> str:
        folder = tmp_path / str(kill.number)
        folder.mkdir()
        return Attempt(kill, folder, watched, monitor_s)()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        failures = [failure for failure in pool.map(attempt, kills()) if failure]
    assert not failures, "\n".join(failures)
