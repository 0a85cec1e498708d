"""Rename, annotate and trash run directories.

Nothing is deleted: trashed runs are moved to `.trash` beside the others. A live run is neither
renamed nor moved; its lock prevents it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from lmm_tui.engine.config import trust
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import replace_text
from lmm_tui.message import os_reason

TRASH = ".trash"
_LONGEST_NAME = 200


class ManageRunsError(LmmError):
    """A run directory could not be changed."""


def rename(run: RunDir, name: str) -> RunDir:
    """Rename a run that is not live, within its folder."""
    target = run.path.with_name(check_name(run, name))
    with run.lock():
        # run.json first: if the folder cannot be moved the run still opens.
        run.write_info(replace(run.read_info(), name=name))
        _move(run.path, target)
    with suppress(LmmError):  # A resume then asks for --trust.
        trust.moved(run.path, target)
    return RunDir(target)


def check_name(run: RunDir, name: str) -> str:
    """Return `name` if `run` can be renamed to it; else raise ManageRunsError."""
    if not name or name != name.strip() or name.startswith(".") or "/" in name or "\0" in name:
        raise ManageRunsError(
            "{name!r}: no name for a run; take one without /, a leading dot or spaces at its ends",
            name=name,
        )
    if len(name.encode()) > _LONGEST_NAME:
        raise ManageRunsError(
            "the name is longer than {longest_name} bytes; take a shorter one",
            longest_name=_LONGEST_NAME,
        )
    if run.path.with_name(name).exists():
        raise ManageRunsError(
            "{name}: {parent} holds that already; take another name",
            name=name,
            parent=run.path.parent,
        )
    return name


def note(run: RunDir, text: str) -> None:
    """Save a note with a run; empty text removes it."""
    try:
        if text.strip():
            replace_text(run.note_file, text.strip() + "\n", run.path)
        else:
            run.note_file.unlink(missing_ok=True)
    except OSError as error:
        raise ManageRunsError(
            "{note_file}: not written ({error})", note_file=run.note_file, error=os_reason(error)
        ) from None


def throw_away(run: RunDir) -> Path:
    """Move a run that is not live to `.trash` beside it; returns its new path."""
    with run.lock():
        trash = run.path.with_name(TRASH)
        try:
            trash.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ManageRunsError(
                "{trash}: cannot be made ({error})", trash=trash, error=os_reason(error)
            ) from None
        target = trash / run.name
        copies = 1
        while target.exists():
            copies += 1
            target = trash / f"{run.name}-{copies}"
        _move(run.path, target)
    return target


def _move(path: Path, target: Path) -> None:
    try:
        path.rename(target)
    except OSError as error:
        raise ManageRunsError(
            "{path}: cannot be moved ({error})", path=path, error=os_reason(error)
        ) from None


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        run = RunDir(Path(folder) / "slow")
        run.create()
        print(throw_away(run).relative_to(folder))
    print("=== 自测通过 ===")
