"""The terminal is lent and given back, and neither signals nor crashes of a screen end a run."""

import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest
from fake_run import FakeRun

from lmm_tui.cli import app_runner
from lmm_tui.cli.app_runner import AppRunner
from lmm_tui.cockpit.messages import Departure
from lmm_tui.cockpit.preferences import NO_PREFERENCES
from lmm_tui.terminal.capture import Terminal

ALT_SCREEN_OFF = b"\x1b[?1049l"


class App:
    """Stands in for the Textual app, which needs a real terminal to run."""

    session = None
    habits = NO_PREFERENCES

    def __init__(self, live):
        self._live = live
        self.departure = None
        self.interrupted = 0

    def leave_soon(self, departure):
        self.departure = departure

    def interrupt(self):
        self.interrupted += 1

    def run(self, mouse):
        self._live(self)
        return self.departure


def run_with(*lives, **meanings):
    """Opens one app after the other; what is left of it all, and the notices they were given."""
    notices, apps = [], iter(lives)

    def make_app(extras):
        notices.append(extras["notice"])
        return App(next(apps))

    with Terminal() as terminal:
        runner = AppRunner(terminal, make_app, mouse=False)
        with runner.signals(**meanings):
            return runner.run(), notices


def crash(app):
    raise RuntimeError("a widget broke")


def leave(app):
    app.departure = Departure.DETACH


def test_a_screen_that_crashes_is_opened_again_and_says_so(monkeypatch, capsys):
    monkeypatch.setattr(app_runner, "_SHORTEST_LIFE_S", 0.0)
    departure, notices = run_with(crash, leave)
    assert departure is Departure.DETACH
    assert notices[0] == "" and "crashed" in notices[1]
    assert "a widget broke" in capsys.readouterr().err


def test_a_screen_that_crashes_at_once_is_not_opened_for_ever(capsys):
    departure, notices = run_with(crash)
    assert departure is None
    assert len(notices) == 1


@pytest.mark.parametrize(
    "number, departure",
    [(signal.SIGTERM, Departure.TERMINATE), (signal.SIGHUP, Departure.HANGUP)],
)
def test_a_signal_leaves_the_screen(number, departure):
    told = []
    left, _ = run_with(
        lambda app: os.kill(os.getpid(), number),
        terminate=lambda: told.append("terminate"),
        hang_up=lambda: told.append("hang up"),
    )
    assert left is departure
    assert told == (["terminate"] if number == signal.SIGTERM else [])


@pytest.mark.parametrize(
    "number, departure",
    [(signal.SIGTERM, Departure.TERMINATE), (signal.SIGHUP, Departure.HANGUP)],
)
def test_a_signal_that_comes_before_the_app_is_heeded(number, departure):
    def make_app(extras):
        raise AssertionError("no app is needed")

    with Terminal() as terminal:
        runner = AppRunner(terminal, make_app, mouse=False)
        with runner.signals():
            os.kill(os.getpid(), number)
            assert runner.run() is departure


def test_a_signal_while_the_app_crashes_is_heeded(monkeypatch):
    def crash_when_told_to_leave(app):
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("a widget broke")

    monkeypatch.setattr(app_runner, "_SHORTEST_LIFE_S", 0.0)
    departure, notices = run_with(crash_when_told_to_leave)
    assert departure is Departure.TERMINATE and len(notices) == 1


def test_an_interrupt_from_outside_is_a_request_to_quit():
    def interrupted(app):
        os.kill(os.getpid(), signal.SIGINT)
        assert app.interrupted == 1
        app.departure = Departure.DETACH

    assert run_with(interrupted)[0] is Departure.DETACH


def test_textual_s_handlers_do_not_outlive_its_screen():
    def take_over(app):
        signal.signal(signal.SIGTSTP, lambda *_: None)
        app.departure = Departure.DETACH

    run_with(take_over)
    assert signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL


# The real thing, on a pseudo-terminal


class Monitor:
    """`lmm-tui monitor` as somebody's foreground process on a terminal of its own."""

    def __init__(self, run):
        self.master, slave = pty.openpty()
        program = (
            "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
            "from lmm_tui.cli.main import run; sys.exit(run(sys.argv[1:]))"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, "monitor", str(run.dir.path)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"},
        )
        os.close(slave)
        self.written = b""

    def wait_for(self, text, timeout_s=120.0):
        deadline = time.monotonic() + timeout_s
        while text not in self.written:
            assert time.monotonic() < deadline, self.written[-2000:]
            assert self._read(0.1), self.written[-2000:]

    def _read(self, timeout_s):
        """Take what comes in that time; False once everybody has let go of the terminal."""
        if select.select([self.master], [], [], timeout_s)[0]:
            try:
                self.written += os.read(self.master, 65536)
            except OSError:
                return False
        return True

    def type(self, keys):
        os.write(self.master, keys)

    def end(self):
        """The exit code, once everything it wrote has been read."""
        deadline = time.monotonic() + 120
        while self._read(0.1):
            assert time.monotonic() < deadline
        return self.process.wait(120)


@pytest.fixture
def run(tmp_path):
    made = FakeRun(tmp_path / "first-words")
    made.train(1, 30)
    yield made
    made.close()


@pytest.fixture
def monitor(run):
    opened = Monitor(run)
    opened.wait_for(b"RUNNING")
    yield opened
    if opened.process.poll() is None:
        opened.process.kill()
        opened.process.wait()


def test_monitor_detaches_gives_the_terminal_back_and_says_how_to_return(monitor):
    monitor.type(b"q")
    monitor.wait_for(b"Detach")
    monitor.type(b"d")
    assert monitor.end() == 0
    after = monitor.written.rpartition(ALT_SCREEN_OFF)[2].decode()
    assert "keeps running in process" in after and "lmm-tui monitor" in after


def test_a_crash_of_the_screen_gives_the_terminal_back_and_leaves_the_run_alone(monitor, run):
    # What tmux can send on re-attach: X10 mouse bytes, which Textual cannot decode.
    monitor.type(b"\x1b[M\xff\xfe\xff")
    assert monitor.end() == 1
    after = monitor.written.rpartition(ALT_SCREEN_OFF)[2].decode()
    assert "UnicodeDecodeError" in after
    assert "the screen crashed" in after and "is not affected" in after
    assert run.dir.read_status().state == "running"


def test_a_closed_terminal_ends_the_monitor(monitor):
    os.close(monitor.master)
    assert monitor.process.wait(120) == 0


def test_sigterm_gives_the_terminal_back(monitor):
    monitor.process.terminate()
    assert monitor.end() == 128 + signal.SIGTERM
    assert ALT_SCREEN_OFF in monitor.written
