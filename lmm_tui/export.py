"""Writes plots and numbers of a run in a process of its own, so that no training feels it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lmm_errors import LmmError

TIMEOUT_S = 120

_DRAW = """
import os, sys
os.nice(10)
from metrics.visualize import export_plots
for path in export_plots(sys.argv[1]):
    print(path)
"""

_TABULATE = """
import json, os, sys
os.nice(10)
from pathlib import Path
from lmm_tui.session import RunSession
from metrics.exporting import Part, export
asked = json.load(sys.stdin)
session = RunSession(Path(sys.argv[1]))
session.poll()
export(session.series, "csv", Path(asked.pop("target")), Part(**asked))
"""


class ExportError(LmmError):
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
    here = str(Path(__file__).resolve().parents[1])
    environment = os.environ | {"PYTHONPATH": here, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    try:
        # A session of its own: closing the terminal must not leave half a file.
        done = subprocess.run(
            [sys.executable, "-P", "-c", program, str(run.resolve())],
            env=environment,
            input=told,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ExportError(f"{run}: nothing was written within {TIMEOUT_S} s") from None
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ExportError(f"{run}: it could not be written: {words[-1]}")
    return done.stdout


if __name__ == "__main__":
    try:
        export_in_background(Path("/nonexistent/run"))
    except ExportError as error:
        print(error)
    print("=== 自测通过 ===")
