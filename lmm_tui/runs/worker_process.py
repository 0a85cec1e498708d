"""Run one of our own programs in a child process and wait for it.

Used for work that imports torch or matplotlib, or that would take the interpreter lock from the
screen and from training.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import lmm_tui
from lmm_tui.errors import LmmError

_COMMAND = """
import os, sys
os.nice(int(sys.argv[1]))
from lmm_tui.cli.main import run
sys.exit(run(sys.argv[2:]))
"""


class WorkerError(LmmError):
    """A worker process failed; the text is the last line it wrote to stderr."""


def run_in_worker(arguments: Sequence[str], *, niceness: int = 0) -> str:
    """Run `lmm-tui ARGUMENTS` in a child process; returns its last line.

    Raises WorkerError with the error message of the command.
    """
    try:
        lines = run_program(_COMMAND, [str(niceness), *arguments]).strip().splitlines()
    except WorkerError as error:
        raise WorkerError(str(error).removeprefix("lmm-tui: ")) from None
    return lines[-1].removeprefix("lmm-tui: ") if lines else "exit code 0"


def run_program(
    program: str,
    arguments: Sequence[str],
    *,
    stdin: str = "",
    timeout_s: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run Python source with `arguments` in a child process; returns what it printed.

    `environment` is added to that of this process. Raises WorkerError if the exit code is not 0,
    TimeoutExpired after `timeout_s`.
    """
    source_root = str(Path(lmm_tui.__file__).parents[1])
    # -P: nothing is imported from the working directory. A session of its own: closing the
    # terminal must not leave half a file.
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, *arguments],
        env=os.environ | {"PYTHONPATH": source_root} | dict(environment or {}),
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        start_new_session=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise WorkerError(lines[-1])
    return done.stdout


if __name__ == "__main__":
    try:
        run_in_worker(["runs", "--nonsense"])
    except WorkerError as error:
        print(error)
    print("=== 自测通过 ===")
