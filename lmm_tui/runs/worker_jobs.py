"""Jobs the cockpit runs in worker processes: draw a run's plots, write a CSV, convert a model.

Each call blocks until its process has ended, so screens call them from a thread. The processes run
at a low priority: matplotlib or torch in the cockpit's own process would slow down training.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from subprocess import TimeoutExpired

from lmm_tui.runs.worker_process import WorkerError, run_in_worker, run_program

TIMEOUT_S = 120
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}

_DRAW = """
import os, sys
os.nice(10)
from lmm_tui.metrics.visualize import export_plots
for path in export_plots(sys.argv[1]):
    print(path)
"""

_TABULATE = """
import json, os, sys
os.nice(10)
from pathlib import Path
from lmm_tui.engine.run.reader import Reader
from lmm_tui.metrics.writers.exporting import Part, export
request = json.load(sys.stdin)
session = Reader(Path(sys.argv[1]))
session.poll()
export(session.series, "csv", Path(request.pop("target")), Part(**request))
"""


def export_in_background(run: Path) -> list[Path]:
    """Draw the plots of `run`; returns the files. Raises WorkerError."""
    return [Path(line) for line in _run_on(run, _DRAW).splitlines()]


def tabulate_in_background(
    run: Path, target: Path, metrics: Sequence[str], first: int, last: int
) -> None:
    """Write `metrics` from step `first` to step `last`, inclusive, as CSV. Raises WorkerError."""
    request = {"target": str(target), "first": first, "last": last, "only": list(metrics)}
    _run_on(run, _TABULATE, json.dumps(request))


def convert_in_worker(source: Path, target: Path, *, merge: bool) -> str:
    """Run `lmm-tui convert SOURCE TARGET`; returns its last line. Raises WorkerError."""
    arguments = ["convert", str(source), str(target), *(["--merge"] if merge else [])]
    try:
        return run_in_worker(arguments, niceness=10)
    except WorkerError as error:
        raise WorkerError("not converted: {error}", error=error) from None


def _run_on(run: Path, program: str, stdin: str = "") -> str:
    arguments = [str(run.resolve())]
    try:
        return run_program(
            program, arguments, stdin=stdin, timeout_s=TIMEOUT_S, environment=_ENVIRONMENT
        )
    except TimeoutExpired:
        raise WorkerError(
            "{run}: nothing was written within {timeout_s} s", run=run, timeout_s=TIMEOUT_S
        ) from None
    except WorkerError as error:
        raise WorkerError("{run}: it could not be written: {error}", run=run, error=error) from None


if __name__ == "__main__":
    try:
        export_in_background(Path("/nonexistent/run"))
    except WorkerError as error:
        print(error)
    print("=== 自测通过 ===")
