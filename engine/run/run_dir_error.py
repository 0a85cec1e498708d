"""The error of a run directory that is missing, damaged, in use or not writable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lmm_tui.errors import LmmError
from lmm_tui.message import os_reason


class RunDirError(LmmError):
    """A run directory that is missing, foreign, damaged or in use."""


def nothing_left(run: Path, done: int, steps: int) -> RunDirError:
    """A run that is to be resumed, and has made all its steps."""
    return RunDirError(
        "{run}: nothing left to train, step {done} of {steps} is saved; raise --steps to go on",
        run=run,
        done=done,
        steps=steps,
    )


def no_time_left(run: Path, minutes: float) -> RunDirError:
    """A run that is to be resumed, and has trained for all its minutes."""
    return RunDirError(
        "{run}: nothing left to train, its {minutes:g} minutes are over; raise --minutes to go on",
        run=run,
        minutes=minutes,
    )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a RunDirError about `path`."""
    try:
        yield
    except OSError as error:
        raise RunDirError(
            "{path}: cannot be written ({error}); make room there or choose another --runs-dir",
            path=path,
            error=os_reason(error),
        ) from None


if __name__ == "__main__":
    try:
        with writing(Path("/nowhere/config.toml")):
            Path("/nowhere/config.toml").write_text("")
    except RunDirError as error:
        print(error)
    print("=== 自测通过 ===")
