"""Converts a model in a process of its own."""

from __future__ import annotations

from pathlib import Path

from lmm_tui.errors import LmmError
from lmm_tui.runs.worker_process import WorkerError, run_in_worker


class ConvertError(LmmError):
    """A model that could not be converted."""


def convert_in_worker(source: Path, target: Path, *, merge: bool) -> str:
    """Do what `lmm-tui convert` does and wait for it; its last words.

    Raises ConvertError with the sentence of the process that refused.
    """
    try:
        return run_in_worker(
            ["convert", str(source), str(target), *(["--merge"] if merge else [])], niceness=10
        )
    except WorkerError as error:
        raise ConvertError(f"not converted: {error}") from None


if __name__ == "__main__":
    try:
        convert_in_worker(Path("--nonsense"), Path("/nonexistent/x.pth"), merge=False)
    except ConvertError as error:
        print(error)
    print("=== 自测通过 ===")
