"""Writes plots and numbers of a run in a process of its own, so that no training feels it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from subprocess import TimeoutExpired

from lmm_tui.errors import LmmError
from lmm_tui.runs.worker_process import WorkerError, run_program

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
from lmm_tui.runs.session import RunSession
from lmm_tui.metrics.writers.exporting import Part, export
asked = json.load(sys.stdin)
session = RunSession(Path(sys.argv[1]))
session.poll()
export(session.series, "csv", Path(asked.pop("target")), Part(**asked))
"""


class BackgroundExportError(LmmError):
    """Plots that could not be written."""


def export_in_background(run: Path) -> list[Path]:
    """Draw the plots of `run` and wait for them; blocks for a second or two.

    Raises ExportError with the last words of the process that failed.
    """
    return [Path(line) for line in _in_background(_DRAW, run).splitlines()]


def tabulate_in_background(
    run: Path, target: Path, metrics: Sequence[str], first: int, last: int
) -> None:
    """Write the steps `first` to `last`, both included, of some metrics as CSV; blocks.

    Raises ExportError with the last words of the process that failed.
    """
    asked = {"target": str(target), "first": first, "last": last, "only": list(metrics)}
    _in_background(_TABULATE, run, json.dumps(asked))


def _in_background(program: str, run: Path, told: str = "") -> str:
    """Run `program` on a run; what it printed."""
    arguments = [str(run.resolve())]
    try:
        return run_program(
            program, arguments, told=told, timeout_s=TIMEOUT_S, environment=_ENVIRONMENT
        )
    except TimeoutExpired:
        raise BackgroundExportError(f"{run}: nothing was written within {TIMEOUT_S} s") from None
    except WorkerError as error:
        raise BackgroundExportError(f"{run}: it could not be written: {error}") from None


if __name__ == "__main__":
    try:
        export_in_background(Path("/nonexistent/run"))
    except BackgroundExportError as error:
        print(error)
    print("=== 自测通过 ===")
