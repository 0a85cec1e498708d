"""The program of a tracker's process: rows come as lines, what became of them goes back as lines.

It runs whatever the package does at its import, in its calls and when the interpreter ends; what
it prints or asks goes nowhere. `mirror_process` starts it and ends it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from lmm_tui.engine.trackers.built_in import new_tracker
from lmm_tui.message import kind_and_text
from lmm_tui.metrics.writers.mirror import TrackedRun, Tracker

TAKEN, DONE, FAILED = "taken", "done", "failed "
"""What it says: a row was taken; it has ended well; why it takes no more."""
END = "end"
"""Instead of a row: the run has ended. Where nothing says so, the run was killed."""


def first_line(run: TrackedRun, config: Mapping[str, Any]) -> str:
    """What it is told before the rows."""
    about = {**vars(run), "directory": str(run.directory)}
    return json.dumps([about, config, sys.argv])


def row_line(step: int, time: float, values: Mapping[str, float], late: bool) -> str:
    return json.dumps([step, time, dict(values), late])


def serve(name: str) -> None:
    """Give the tracker `name` the rows of stdin, and say on stdout what became of them."""
    rows, report = _private(0, os.O_RDONLY), _private(1, os.O_WRONLY)
    with os.fdopen(rows, encoding="utf-8") as lines, os.fdopen(report, "w") as said:
        about, config, sys.argv[:] = json.loads(lines.readline())
        run = TrackedRun(**{**about, "directory": Path(about["directory"])})
        try:
            _mirror(name, run, config, lines, said)
        except (Exception, SystemExit) as error:
            _say(said, FAILED + kind_and_text(error))


def _private(descriptor: int, flags: int) -> int:
    """It under another number; what the package finds in its place is nothing."""
    own = os.dup(descriptor)
    nothing = os.open(os.devnull, flags)
    os.dup2(nothing, descriptor)
    os.close(nothing)
    return own


def _mirror(
    name: str, run: TrackedRun, config: Mapping[str, Any], lines: TextIO, said: TextIO
) -> None:
    tracker = new_tracker(name)
    tracker.start(run, config)
    try:
        _copy_rows(tracker, lines, said)
    except BaseException:
        with suppress(Exception):
            tracker.close()
        raise
    tracker.close()
    _say(said, DONE)


def _copy_rows(tracker: Tracker, lines: TextIO, said: TextIO) -> None:
    for line in lines:
        if (row := json.loads(line)) == END:
            return
        tracker.row(*row)
        _say(said, TAKEN)
    os._exit(1)  # The run was killed: it has not finished, and may be resumed at once.


def _say(report: TextIO, line: str) -> None:
    with suppress(OSError):  # The run was killed.
        report.write(line + "\n")
        report.flush()


if __name__ == "__main__":
    line = first_line(TrackedRun("demo", "sft", Path("runs/demo")), {"stage": "sft"})
    print(line, row_line(1, 0.0, {"train/loss": 2.0}, False))
    assert json.loads(line)[0]["directory"] == "runs/demo"
    print("=== 自测通过 ===")
