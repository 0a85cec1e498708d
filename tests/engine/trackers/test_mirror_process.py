"""A tracker whose package hangs, fails or ends its process, in any of its calls: training waits for
none of it, the end of a run for some seconds, and an event says what is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from repository import ROOT

from lmm_tui.engine.trackers import mirror_process
from lmm_tui.engine.trackers.mirror_process import MirrorProcess
from lmm_tui.metrics.writers.mirror import TrackedRun

PACKAGE = """
import atexit, os, signal, subprocess, sys, time
from pathlib import Path

PLACE, FAULT, NOTES = sys.argv[1:]
print("nobody reads this")

def fail():
    raise OSError("no space left on device")

def note(pid, place):
    with Path(NOTES).open("a") as file:
        file.write(f"{pid} {place}\\n")

def service():
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    note(process.pid, "service")
    process.wait()

def at(place):
    note(os.getpid(), place)
    if place == PLACE:
        {
            "sleeps": lambda: time.sleep(600),
            "stops": lambda: os.kill(os.getpid(), signal.SIGSTOP),
            "asks": lambda: input("Enter your key: "),
            "serves": service,
            "spins": lambda: [None for _ in iter(int, 1)],
            "raises": fail,
            "quits": lambda: sys.exit("see you"),
            "dies": lambda: os._exit(3),
            "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
        }[FAULT]()

at("import")
atexit.register(at, "exit")
Settings = Table = dict

class Run:
    def define_metric(self, *_, **__): ...
    def log(self, row): at("log")
    def finish(self, exit_code): at("finish")

def init(**_):
    at("init")
    return Run()
"""
HANGS = "did not end within"
CASES = {
    **{(place, fault): HANGS for place in ("import", "init", "log", "finish", "exit")
       for fault in ("sleeps", "stops")},
    ("finish", "serves"): HANGS, ("exit", "spins"): HANGS,
    ("init", "asks"): "gets no further rows (EOFError",
    ("import", "raises"): "(OSError: no space left on device)",
    ("init", "raises"): "(OSError: no space left on device)",
    ("log", "raises"): "(OSError: no space left on device)",
    ("finish", "raises"): "(OSError: no space left on device)",
    ("log", "quits"): "(SystemExit: see you)",
    ("init", "dies"): "(its process ended with exit code 3)",
    ("finish", "dies"): "(its process ended with exit code 3)",
    ("log", "is killed"): "(its process was killed by SIGKILL)",
    ("exit", "raises"): "", ("nowhere", "raises"): "",
}  # fmt: skip

Made = Callable[[str, str], tuple[MirrorProcess, list[str]]]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """A mirror whose package has a fault at a place, and what is told of it."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "wandb.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(tmp_path / "package")

    def make(place: str, fault: str) -> tuple[MirrorProcess, list[str]]:
        notes = str(tmp_path / f"{place} {fault}")
        monkeypatch.setattr(sys, "argv", ["lmm-tui", place, fault, notes])
        told: list[str] = []
        run = TrackedRun("one", "sft", tmp_path)
        return MirrorProcess("wandb", run, {"stage": "sft"}, told.append), told

    return make


def notes(folder: Path, place: str, fault: str) -> list[list[str]]:
    file = folder / f"{place} {fault}"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_whatever_a_tracker_does_the_run_ends_and_says_what_is_lost(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    mirrors = {case: made(*case) for case in CASES}
    slowest = 0.0
    for step in range(3):
        for mirror, _ in mirrors.values():
            begun = time.thread_time()
            mirror.write(step, 1e9, {"train/loss": 2.0, "val/loss": float("nan")})
            slowest = max(slowest, time.thread_time() - begun)
    assert slowest < 0.1
    for place, fault in CASES:
        reached = place if place not in ("finish", "exit", "nowhere") else "log"
        until(lambda p=place, f=fault, r=reached: r in {row[1] for row in notes(tmp_path, p, f)})
    monkeypatch.setattr(mirror_process, "IDLE_S", 2.0)
    monkeypatch.setattr(mirror_process, "BUSY_S", 3.0)
    begun = time.monotonic()
    for mirror, _ in mirrors.values():
        mirror.end()
    for mirror, _ in mirrors.values():
        mirror.close()
    assert time.monotonic() - begun < 30, "not one after the other"
    for case, expected in CASES.items():
        told = mirrors[case][1]
        assert len(told) == bool(expected) and expected in "".join(told), (case, told)
        for pid in {int(row[0]) for row in notes(tmp_path, *case)}:
            until(lambda pid=pid: not lives(pid))
    assert "took 0 of 3 rows, and may lack" in mirrors["init", "stops"][1][0]
    assert "took 3 of 3 rows, and may lack" in mirrors["finish", "sleeps"][1][0]
    assert capfd.readouterr() == ("", "")


def test_rows_that_do_not_fit_are_left_out_and_said(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_process, "MOST_WAITING", 10)
    mirror, told = made("init", "stops")
    mirror.write(0, 1e9, {"train/loss": 2.0})
    until(lambda: notes(tmp_path, "init", "stops"))
    written = 1
    while not told and written < 100_000:  # A pipe takes some thousand of them.
        mirror.write(written, 1e9, {"train/loss": 2.0})
        written += 1
    assert len(told) == 1 and "takes rows too slowly, or none: from step " in told[0]
    [pid] = {int(row[0]) for row in notes(tmp_path, "init", "stops")}
    os.kill(pid, signal.SIGCONT)
    monkeypatch.setattr(mirror_process, "IDLE_S", 300.0)  # It goes on, and ends.
    monkeypatch.setattr(mirror_process, "BUSY_S", 300.0)
    mirror.close()
    assert len(told) == 2 and told[1].endswith(f" of {written} rows; metrics.jsonl has all of them")


WARNING = "trackio failed to flush metric logs: disk full. This batch could not be persisted."


def test_what_trackio_only_warns_of_is_said(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = f"""
import warnings
class Run:
    def log(self, row, step): warnings.warn({WARNING!r})
    def finish(self): ...
def init(**_):
    warnings.warn("trackio has no GPU to log")
    return Run()
"""
    (tmp_path / "package" / "trackio.py").write_text(package)
    told: list[str] = []
    mirror = MirrorProcess("trackio", TrackedRun("one", "sft", tmp_path), {}, told.append)
    mirror.write(1, 1e9, {"train/loss": 2.0})
    mirror.close()
    assert len(told) == 1 and WARNING in told[0]


def test_a_run_without_a_row_starts_nothing(made: Made, tmp_path: Path) -> None:
    mirror, told = made("import", "sleeps")
    mirror.close()
    assert not told and not notes(tmp_path, "import", "sleeps")


PROGRAM = """
import os, sys
from pathlib import Path
from lmm_tui.engine.trackers import mirror_process
from lmm_tui.metrics.writers.mirror import TrackedRun

mirror_process.IDLE_S = 0.5
mirror = mirror_process.MirrorProcess("wandb", TrackedRun("one", "sft", Path()), {}, print)
mirror.write(1, 1e9, {"train/loss": 2.0})
if not (fork := os.fork()):
    mirror.close()
    os._exit(0)
os.waitpid(fork, 0)
mirror.write(2, 1e9, {"train/loss": 2.0})
"""


@pytest.mark.parametrize("fault", ["sleeps", "raises"])
def test_a_program_that_ends_without_closing_it_waits_as_briefly(
    made: Made, tmp_path: Path, fault: str
) -> None:
    """And a fork of it takes nothing away."""
    place = "exit" if fault == "sleeps" else "nowhere"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, place, fault, str(tmp_path / f"{place} {fault}")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path / "package")])},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert [row[1] for row in notes(tmp_path, place, fault)] == [
        "import", "init", "log", "log", "finish", "exit",
    ]  # fmt: skip
    assert not done.stderr
    assert ("took 2 of 2 rows" in done.stdout) == (fault == "sleeps")
