"""A copy of a run's rows by a tracker in a process of its own.

The package of a tracker may hang, fail, print or leave handlers for the end of the interpreter:
none of it reaches training. Rows wait in a queue; at the end the process has some seconds.
"""

from __future__ import annotations

import atexit
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from json import dumps
from pathlib import Path
from queue import SimpleQueue
from time import monotonic
from typing import Any

import psutil

from lmm_tui.child_process import ALL_SECRETS, child_environment, start_python
from lmm_tui.engine.run.rank_records import signal_name
from lmm_tui.engine.trackers.tracker_process import (
    DONE,
    END,
    FAILED,
    TAKEN,
    first_line,
    row_line,
)
from lmm_tui.message import Message
from lmm_tui.metrics.writers.mirror import TrackedRun

_PROGRAM = """
import sys
from lmm_tui.engine.trackers.tracker_process import serve
serve(sys.argv[1])
"""
MOST_WAITING = 10_000
IDLE_S, BUSY_S = 8.0, 15.0
"""How long a run that has ended waits for its tracker's process: where that does nothing, and where
it works, such as one that has just started."""
_LOOK_S, _WORKS = 0.25, 0.02
"""How often its processor time is read, and the share of a core that is work."""
_KILLED_S = 2.0

_Row = tuple[int, float, Mapping[str, float], bool]


class MirrorProcess:
    """Starts the process of a tracker at the first row, from a thread.

    A row costs its caller a queue entry (1 µs) and never waits: with 10,000 rows in the queue it
    is left out. `close`, which also runs at interpreter exit, ends the process in IDLE_S to BUSY_S.
    """

    def __init__(
        self,
        name: str,
        run: TrackedRun,
        config: Mapping[str, Any],
        tell: Callable[[str], object],
    ) -> None:
        """`tell` is called from any thread with what the tracker lacks."""
        self._name, self._first, self._tell = name, first_line(run, config), tell
        self._queue: SimpleQueue[_Row | None] = SimpleQueue()
        self._written = self._taken = 0
        self._left_out = False
        self._part, self._failure, self._done = b"", "", False
        self._hangs = False
        self._process: subprocess.Popen[str] | None = None
        self._ended: float | None = None
        self._owner = os.getpid()
        self._thread = threading.Thread(target=self._copy, name=f"tracker {name}", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def write(
        self, step: int, time: float, values: Mapping[str, float], late: bool = False
    ) -> None:
        """Queue one row; `values` is not copied and must not be changed afterwards."""
        if self._failure:
            return
        self._written += 1
        if self._queue.qsize() < MOST_WAITING:
            self._queue.put((step, time, values, late))
        elif not self._left_out:
            self._left_out = True
            self._tell(
                Message(
                    "the tracker {name} takes rows too slowly, or none: from step {step} on it "
                    "lacks some; metrics.jsonl has all of them",
                    name=self._name,
                    step=step,
                )
            )

    def end(self) -> None:
        """Say that no row follows; `close` waits."""
        if self._ended is None:
            self._ended = monotonic()
            self._queue.put(None)

    def close(self) -> None:
        """Wait for its process, or kill it; without effect in a fork."""
        if os.getpid() != self._owner:
            return
        atexit.unregister(self.close)
        self.end()
        try:
            self._wait()
        finally:  # Also where Ctrl-C ends the waiting.
            if self._thread.is_alive():
                self._hangs = True
                for process in self._family():
                    with suppress(psutil.Error):
                        process.kill()
                self._thread.join(_KILLED_S)
                self._tell_the_end()

    def _wait(self) -> None:
        assert self._ended is not None
        used, idle_since = 0.0, self._ended
        while monotonic() < min(idle_since + IDLE_S, self._ended + BUSY_S):
            self._thread.join(_LOOK_S)
            if not self._thread.is_alive():
                return
            if (now := sum(map(_processor_time, self._family()))) > used + _WORKS * _LOOK_S:
                idle_since = monotonic()
            used = now

    def _family(self) -> list[psutil.Process]:
        """Its process and what that has started: a package may have a process of its own."""
        if self._process is None:
            return []
        with suppress(psutil.Error):
            first = psutil.Process(self._process.pid)
            return [*first.children(recursive=True), first]
        return []

    def _copy(self) -> None:
        row = self._queue.get()
        if row is None:
            return
        try:
            self._process = process = start_python(
                ["-c", _PROGRAM, self._name],
                secrets=ALL_SECRETS,
                environment={"PYTHONPATH": _search_path()},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            self._fail(f"{type(error).__name__}: {error}")
            return
        assert process.stdin is not None and process.stdout is not None
        with suppress(OSError):  # A broken pipe: it has ended, and may have said why.
            process.stdin.write(self._first + "\n")
            while row is not None and not self._failure:
                process.stdin.write(row_line(*row) + "\n")
                process.stdin.flush()
                self._listen(process, 0.0)
                row = self._queue.get()
            process.stdin.write(dumps(END) + "\n")
            process.stdin.flush()
        while self._listen(process, None):
            pass
        code = process.wait()
        process.stdout.close()
        with suppress(OSError):  # Of what it has not taken.
            process.stdin.close()
        if self._hangs:
            return
        if not self._done:
            killed = Message("its process was killed by {name}", name=signal_name(-code))
            self._fail(
                killed
                if code < 0
                else Message("its process ended with exit code {code}", code=code)
            )
        elif self._left_out:
            self._tell_the_end()

    def _listen(self, process: subprocess.Popen[str], timeout_s: float | None) -> bool:
        """Take in what it has said; False once it says no more."""
        assert process.stdout is not None
        report = select.poll()  # Unlike `select`, for any number of open files.
        report.register(process.stdout, select.POLLIN)
        while report.poll(None if timeout_s is None else timeout_s * 1000):
            found = os.read(process.stdout.fileno(), 1 << 16)
            *lines, self._part = (self._part + found).split(b"\n")
            for line in lines:
                said = line.decode()
                self._taken += said == TAKEN
                self._done |= said == DONE
                if said.startswith(FAILED):
                    self._fail(said.removeprefix(FAILED))
            if not found:
                return False
        return True

    def _fail(self, error: str) -> None:
        if self._failure:
            return
        self._failure = error
        self._tell(
            Message(
                "the tracker {name} gets no further rows ({error}); metrics.jsonl has all of them",
                name=self._name,
                error=error,
            )
        )

    def _tell_the_end(self) -> None:
        if self._failure:  # That was told.
            return
        if self._hangs:
            assert self._ended is not None
            text = Message(
                "the tracker {name} did not end within {seconds} s and was stopped: it took "
                "{taken} of {written} rows, and may lack the samples; the run directory has all",
                seconds=round(monotonic() - self._ended),
                name=self._name,
                taken=self._taken,
                written=self._written,
            )
        else:
            text = Message(
                "the tracker {name} took {taken} of {written} rows; metrics.jsonl has all of them",
                name=self._name,
                taken=self._taken,
                written=self._written,
            )
        self._tell(text)


def _processor_time(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def _search_path() -> str:
    """Where this process finds the package, except for the working directory."""
    first = child_environment()["PYTHONPATH"].split(os.pathsep)
    here = Path.cwd()
    others = [name for name in sys.path if Path(name).is_absolute() and Path(name) != here]
    return os.pathsep.join(dict.fromkeys([*first, *others]))


if __name__ == "__main__":
    mirror = MirrorProcess("nobody", TrackedRun("demo", "sft", Path()), {}, print)
    mirror.write(1, 0.0, {"train/loss": 2.0})
    mirror.close()
    print("=== 自测通过 ===")
