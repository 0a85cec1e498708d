"""One of our own commands in a process aside: neither screen nor training waits for torch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lmm_errors import LmmError

_PROGRAM = """
import os, sys
os.nice(int(sys.argv[1]))
from lmm_tui.cli import run
sys.exit(run(sys.argv[2:]))
"""


class AsideError(LmmError):
    """A command that failed; the text is its last line."""


def run_aside(arguments: Sequence[str], *, niceness: int = 0) -> str:
    """Do what `lmm-tui ARGUMENTS` does and wait for it; its last line.

    Raises AsideError with the sentence of the command that refused.
    """
    here = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-P", "-c", _PROGRAM, str(niceness), *arguments],
        env=os.environ | {"PYTHONPATH": here},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        start_new_session=True,
        check=False,
    )
    words = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    last = words[-1].removeprefix("lmm-tui: ") if words else f"exit code {done.returncode}"
    if done.returncode:
        raise AsideError(last)
    return last


if __name__ == "__main__":
    try:
        run_aside(["runs", "--nonsense"])
    except AsideError as error:
        print(error)
    print("=== 自测通过 ===")
