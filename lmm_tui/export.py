"""Writes a run's plots in a process of its own, so that no training feels matplotlib."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lmm_errors import LmmError

TIMEOUT_S = 120

_PROGRAM = """
import os, sys
os.nice(10)
from metrics.visualize import export_plots
for path in export_plots(sys.argv[1]):
    print(path)
"""


class ExportError(LmmError):
    """Plots that could not be written."""


def export_in_background(run: Path) -> list[Path]:
    """Draw the plots of `run` and wait for them; blocks for a second or two.

    Raises ExportError with the last words of the process that failed.
    """
    here = str(Path(__file__).resolve().parents[1])
    environment = os.environ | {"PYTHONPATH": here, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    try:
        # A session of its own: closing the terminal must not leave half a picture.
        done = subprocess.run(
            [sys.executable, "-P", "-c", _PROGRAM, str(run.resolve())],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ExportError(f"{run}: the plots were not drawn within {TIMEOUT_S} s") from None
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ExportError(f"{run}: the plots could not be drawn: {words[-1]}")
    return [Path(line) for line in done.stdout.splitlines()]


if __name__ == "__main__":
    try:
        export_in_background(Path("/nonexistent/run"))
    except ExportError as error:
        print(error)
    print("=== 自测通过 ===")
