"""Work of ours in a process aside: neither screen nor training waits for torch, or feels it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import lmm_tui
from lmm_tui.errors import LmmError

_PROGRAM = """
import os, sys
os.nice(int(sys.argv[1]))
from lmm_tui.cli.main import run
sys.exit(run(sys.argv[2:]))
"""


class WorkerError(LmmError):
    """A child that failed; the text is its last line."""


def run_in_worker(arguments: Sequence[str], *, niceness: int = 0) -> str:
    """Do what `lmm-tui ARGUMENTS` does and wait for it; its last line.

    Raises AsideError with the sentence of the command that refused.
    """
    try:
        words = run_program(_PROGRAM, [str(niceness), *arguments]).strip().splitlines()
    except WorkerError as error:
        raise WorkerError(str(error).removeprefix("lmm-tui: ")) from None
    return words[-1].removeprefix("lmm-tui: ") if words else "exit code 0"


def run_program(
    program: str,
    arguments: Sequence[str],
    *,
    told: str = "",
    timeout_s: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program of ours with `told` as its input; all that it printed.

    Raises AsideError with the last words of one that failed, TimeoutExpired after `timeout_s`.
    """
    here = str(Path(lmm_tui.__file__).parents[1])
    # A session of its own: closing the terminal must not leave half a file.
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, *arguments],
        env=os.environ | {"PYTHONPATH": here} | dict(environment or {}),
        input=told,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        start_new_session=True,
        check=False,
    )
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise WorkerError(words[-1])
    return done.stdout


if __name__ == "__main__":
    try:
        run_in_worker(["runs", "--nonsense"])
    except WorkerError as error:
        print(error)
    print("=== 自测通过 ===")
