"""The error of a run directory that is missing, damaged, in use or not writable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lmm_tui.errors import LmmError


class RunDirError(LmmError):
    """A run directory that is missing, foreign, damaged or in use."""


def nothing_left(run: Path, done: int, steps: int) -> RunDirError:
    """A run that is to be resumed, and has made all its steps."""
    return RunDirError(
        f"{run}: nothing left to train, step {done} of {steps} is saved; raise --steps to go on"
    )


def no_time_left(run: Path, minutes: float) -> RunDirError:
    """A run that is to be resumed, and has trained for all its minutes."""
    return RunDirError(
        f"{run}: nothing left to train, its {minutes:g} minutes are over; raise --minutes to go on"
    )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a RunDirError about `path`."""
    try:
        yield
    except OSError as error:
        raise RunDirError(
            f"{path}: cannot be written ({error.strerror or error}); make room there or choose "
            "another --runs-dir"
        ) from None


if __name__ == "__main__":
    try:
        with writing(Path("/nowhere/config.toml")):
            Path("/nowhere/config.toml").write_text("")
    except RunDirError as error:
        print(error)
    print("=== 自测通过 ===")
