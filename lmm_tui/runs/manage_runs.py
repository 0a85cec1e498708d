"""What a person does to run directories: rename, note, throw away; and what tells two runs apart.

Nothing is ever deleted here: what is thrown away lies in `.trash` beside the runs. A run that is
alive is left alone.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lmm_tui.engine.run.atomic_file import replace_text
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError

TRASH = ".trash"
_LONGEST_NAME = 200


class ManageRunsError(LmmError):
    """Something that cannot be done to a run directory."""


@dataclass(frozen=True)
class SettingDifference:
    """A setting that two runs do not share; None where a run has none of this name."""

    key: str
    first: str | None
    second: str | None


def rename(run: RunDir, name: str) -> RunDir:
    """Give a run that is not alive another name, in its folder."""
    target = run.path.with_name(check_name(run, name))
    with run.lock():
        # The name in run.json first: a run whose folder could not be moved still opens.
        run.write_info(replace(run.read_info(), name=name))
        _move(run.path, target)
    return RunDir(target)


def check_name(run: RunDir, name: str) -> str:
    """`name`, where a run beside `run` may be called so; else ManageRunsError."""
    if not name or name != name.strip() or name.startswith(".") or "/" in name or "\0" in name:
        raise ManageRunsError(
            f"{name!r}: no name for a run; take one without /, a leading dot or spaces at its ends"
        )
    if len(name.encode()) > _LONGEST_NAME:
        raise ManageRunsError(f"the name is longer than {_LONGEST_NAME} bytes; take a shorter one")
    if run.path.with_name(name).exists():
        raise ManageRunsError(f"{name}: {run.path.parent} holds that already; take another name")
    return name


def note(run: RunDir, text: str) -> None:
    """Keep a few words with a run, or none."""
    try:
        if text.strip():
            replace_text(run.note_file, text.strip() + "\n")
        else:
            run.note_file.unlink(missing_ok=True)
    except OSError as error:
        raise ManageRunsError(f"{run.note_file}: not written ({error.strerror})") from None


def throw_away(run: RunDir) -> Path:
    """Move a run that is not alive to `.trash` beside it; returns where it lies now."""
    with run.lock():
        trash = run.path.with_name(TRASH)
        try:
            trash.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ManageRunsError(f"{trash}: cannot be made ({error.strerror})") from None
        target = trash / run.name
        copies = 1
        while target.exists():
            copies += 1
            target = trash / f"{run.name}-{copies}"
        _move(run.path, target)
    return target


def differences(first: RunDir, second: RunDir) -> list[SettingDifference]:
    """The settings in which two runs differ, in the order of the first one's config.toml."""
    one, other = _settings(first), _settings(second)
    return [
        SettingDifference(key, one.get(key), other.get(key))
        for key in dict.fromkeys((*one, *other))
        if one.get(key) != other.get(key)
    ]


def _settings(run: RunDir) -> dict[str, str]:
    try:
        found = tomllib.loads(run.config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ManageRunsError(f"{run.config}: cannot be read ({error})") from None
    return dict(_flat(found))


def _flat(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def _move(path: Path, target: Path) -> None:
    try:
        path.rename(target)
    except OSError as error:
        raise ManageRunsError(f"{path}: cannot be moved ({error.strerror})") from None


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.run.run_records import RunInfo

    with tempfile.TemporaryDirectory() as place:
        runs = []
        for lr in (1e-3, 2e-3):
            made = RunDir(Path(place) / f"lr-{lr:g}")
            made.create()
            made.write_info(RunInfo(made.name, "pretrain", 0.0, 0.0, "here", 1, 0.0))
            made.write_config(f'stage = "pretrain"\n[optim]\nlr = {lr}\n')
            runs.append(made)
        print(differences(*runs))
        assert differences(*runs) == [SettingDifference("optim.lr", "0.001", "0.002")]
        moved = rename(runs[0], "slow")
        held = moved.lock()
        try:
            throw_away(moved)
        except LmmError as refusal:
            print(str(refusal).replace(place, "…"))
        held.close()
        print(throw_away(moved).relative_to(place))
    print("=== 自测通过 ===")
