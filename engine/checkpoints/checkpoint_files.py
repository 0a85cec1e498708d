"""The files of checkpoints: checksums, pins, and which checkpoints are kept.

It works without torch, so that screens can list and verify checkpoints; their contents are
`engine.checkpoints.checkpoint`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmm_tui import guarded_files
from lmm_tui.engine.run.checkpoint_names import checkpoint_step, list_checkpoints
from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import files_below, list_folder, read_bytes, reading, replace_text
from lmm_tui.message import Message, os_reason

FORMAT = 3
"""Format 1 had no checksums."""

STATE = "state.json"
TRAINING = "training.pt"
PINNED = "pinned"

_WRITING = ".writing-"
_REMOVING = ".removing-"
_DAMAGED = "damaged-"


class CheckpointError(LmmError):
    """A checkpoint that is missing, damaged, of another model, or could not be written."""


@dataclass(frozen=True)
class Retention:
    """Which checkpoints are kept; a pinned one always is."""

    last: int
    best: int = 0
    """By a validation loss that was measured at its step; of equal ones the first."""
    every: int = 0
    """Steps between those that are kept for good; 0 keeps none."""


def seal(path: Path, content: Mapping[str, Any]) -> None:
    """Write state.json: `content`, the SHA-256 of each other file, and a digest of itself.

    The files are read back for it, so the checksums are those of what a reader gets.
    """
    files = files_below(path, path)
    sums = {file.relative_to(path).as_posix(): _sum_of(file, path) for file in files}
    sealed = {**content, "files": sums}
    sealed["digest"] = _digest(sealed)
    replace_text(path / STATE, json.dumps(sealed, indent=1, ensure_ascii=False), path)
    for file in files:  # The libraries that wrote them leave the mode to the umask.
        file.chmod(0o600)


def read_state(path: Path) -> dict[str, Any]:
    """The content of state.json without its checksums; CheckpointError where it is damaged."""
    content, _ = _read_sealed(path)
    return content


def verify(path: Path, without: Collection[str] = ()) -> None:
    """Raise CheckpointError unless each file, except those in `without`, is as it was written."""
    _, sums = _read_sealed(path)
    for name, expected in sums.items():
        if name in without:
            continue
        try:
            found = _sum_of(path / name, path)
        except (OSError, ValueError) as error:  # A name may hold a NUL.
            raise _damaged(
                path, Message("{name}: {error}", name=name, error=os_reason(error))
            ) from None
        if found != expected:
            raise _damaged(path, Message("{name} is not what was written", name=name))


def newest_intact(
    folder: Path, without: Collection[str] = (), before: int | None = None
) -> tuple[Path | None, dict[Path, CheckpointError]]:
    """The newest checkpoint in `folder` that verifies, and the errors of those after it.

    With `before`, only those of earlier steps are considered.
    """
    damaged: dict[Path, CheckpointError] = {}
    for path in reversed(list_checkpoints(folder)):
        if before is not None and checkpoint_step(path) >= before:
            continue
        try:
            verify(path, without)
        except CheckpointError as error:
            damaged[path] = error
        else:
            return path, damaged
    return None, damaged


def set_aside(path: Path) -> None:
    """Rename a checkpoint so that no reader finds it; nothing of it is deleted."""
    target = path.with_name(_DAMAGED + path.name)
    with suppress(OSError):
        guarded_files.remove(target, _run_of(path))
    guarded_files.rename(path, target, _run_of(path))


def pin(path: Path) -> None:
    """Keep this checkpoint for good."""
    flags = os.O_WRONLY | os.O_CREAT
    os.close(guarded_files.open_file(path / PINNED, flags, inside=_run_of(path)))
    fsync(path)


def unpin(path: Path) -> None:
    """Keep this checkpoint no longer than the others are kept."""
    with suppress(FileNotFoundError):
        guarded_files.remove(path / PINNED, _run_of(path))
    fsync(path)


def make_staging(target: Path) -> Path:
    """An empty folder to write `target` in; what earlier writers left half-done is removed."""
    run = _run_of(target)
    for name in list_folder(target.parent, run):
        if name.startswith((_WRITING, _REMOVING)):
            with suppress(OSError):  # What cannot be removed only takes space.
                guarded_files.remove(target.with_name(name), run)
    staging = target.with_name(_WRITING + target.name)
    if guarded_files.kind_of(staging, run) is not None:
        raise FileExistsError(errno.EEXIST, "is in the way, remove it", str(staging))
    guarded_files.make_folder(staging, run)
    return staging


def put_in_place(staging: Path, target: Path) -> None:
    """Make what was written durable, then visible under its name by one rename."""
    files = files_below(staging, staging)
    for path in [*files, *{file.parent for file in files}, staging]:
        fsync(path)
    if guarded_files.kind_of(target, _run_of(target)) is not None:
        remove(target)
    guarded_files.rename(staging, target, _run_of(target))
    fsync(target.parent)


def prune(folder: Path, retention: Retention) -> None:
    """Remove the checkpoints that are not to be kept."""
    for path, reasons in kept_by(folder, retention).items():
        if not reasons:
            remove(path)


def kept_by(folder: Path, retention: Retention) -> dict[Path, tuple[str, ...]]:
    """Why each checkpoint is kept: `last`, `best`, `every`, `pinned` or nothing."""
    saved = list_checkpoints(folder)
    last, best = saved[-retention.last :], _best(saved, retention.best)
    reasons: dict[Path, tuple[str, ...]] = {}
    for path in saved:
        stays = bool(retention.every) and checkpoint_step(path) % retention.every == 0
        found = {
            "last": path in last,
            "best": path in best,
            "every": stays,
            "pinned": guarded_files.is_file(path / PINNED, path),
        }
        reasons[path] = tuple(reason for reason, holds in found.items() if holds)
    return reasons


def remove(path: Path) -> None:
    """Delete a checkpoint, under another name first, so that half of one is never found."""
    doomed = path.with_name(_REMOVING + path.name)
    guarded_files.rename(path, doomed, _run_of(path))
    guarded_files.remove(doomed, _run_of(path))


def fsync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def own_val_loss(state: Mapping[str, Any], step: int) -> float | None:
    """The finite validation loss in a state.json that was measured at the checkpoint's step.

    Older checkpoints do not say when theirs was measured: it is taken for their own.
    """
    loss, measured = state.get("val_loss"), state.get("val_step")
    known = isinstance(loss, float) and math.isfinite(loss) and measured in (None, step)
    return loss if known else None


def _run_of(checkpoint: Path) -> Path:
    """The directory of its run, below which no link is followed."""
    return checkpoint.parent.parent


def _best(saved: list[Path], count: int) -> list[Path]:
    losses: list[tuple[float, Path]] = []
    for path in saved if count else ():
        try:
            state = read_state(path)
        except CheckpointError:
            continue
        if (loss := own_val_loss(state, checkpoint_step(path))) is not None:
            losses.append((loss, path))
    return [path for _, path in sorted(losses)[:count]]


def _read_sealed(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        found = json.loads(read_bytes(path / STATE, path))
        written_as = found["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(
            path, Message("{state}: {name}", state=STATE, name=type(error).__name__)
        ) from None
    if not isinstance(written_as, int) or written_as > FORMAT:
        raise CheckpointError(
            "{path}: format {written_as} is newer than this lmm-tui reads "
            "({format}); upgrade lmm-tui",
            path=path,
            written_as=written_as,
            format=FORMAT,
        )
    if written_as == 1:
        return found, {}
    digest = found.pop("digest", None)
    if digest != _digest(found) or not isinstance(found.get("files"), dict):
        raise _damaged(path, Message("{state} is not what was written", state=STATE))
    sums = found.pop("files")
    if wrong := next((name for name in sums if Path(name).as_posix() != name), None):
        raise _damaged(path, Message("{state} names {wrong!r}", state=STATE, wrong=wrong))
    return found, sums


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        "{path}: damaged checkpoint ({reason}); use the one before", path=path, reason=reason
    )


def _sum_of(file: Path, inside: Path) -> str:
    with reading(file, inside) as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "step-000000010"
        staging = make_staging(target)
        seal(staging, {"format": FORMAT, "step": 10, "val_loss": 3.0})
        put_in_place(staging, target)
        print(kept_by(Path(scratch), Retention(last=1)), newest_intact(Path(scratch)))
    print("=== 自测通过 ===")
