"""Converts a model in a process of its own, so that neither screen nor training waits for torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lmm_errors import LmmError

_PROGRAM = """
import os, sys
os.nice(10)
from lmm_tui.cli import run
sys.exit(run(["convert", *sys.argv[1:]]))
"""


class ConvertError(LmmError):
    """A model that could not be converted."""


def convert_aside(source: Path, target: Path, *, merge: bool) -> str:
    """Do what `lmm-tui convert` does and wait for it; its last words.

    Raises ConvertError with the sentence of the process that refused.
    """
    here = str(Path(__file__).resolve().parents[1])
    arguments = [str(source), str(target), *(["--merge"] if merge else [])]
    done = subprocess.run(
        [sys.executable, "-P", "-c", _PROGRAM, *arguments],
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
        raise ConvertError(f"not converted: {last}")
    return last


if __name__ == "__main__":
    try:
        convert_aside(Path("--nonsense"), Path("/nonexistent/x.pth"), merge=False)
    except ConvertError as error:
        print(error)
    print("=== 自测通过 ===")
