"""The logs in a folder: which one is the run's, and which runs lie in the folders below."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from lmm_tui.guarded_files import read_bytes
from lmm_tui.metrics.readers import trackio_log
from lmm_tui.metrics.readers.event_files import (
    concurrent_writers,
    find_event_files,
    folders_with_events,
    sources_in,
)
from lmm_tui.metrics.readers.log_formats import Head, format_of
from lmm_tui.metrics.readers.metric_names import split_of
from lmm_tui.metrics.readers.unread import not_a_log
from lmm_tui.metrics.readers.wandb_log import find_wandb_file

STATE = "trainer_state.json"
_USUAL = (
    "metrics.csv",
    "results.csv",
    "metrics.jsonl",
    "metrics.json",
    "history.csv",
    "progress.csv",
)
_STRONG_SUFFIXES = (".jsonl", ".ndjson", ".log", ".out")
_WEAK_SUFFIXES = (".txt", ".json", ".md", ".gz", ".db", ".csv", ".tsv")
"""Files that often are something else."""

_RUN_OF_OURS = "run.json"
_DEPTH = 4
_MOST_FOLDERS = 5000
_LARGEST_STATE = 256 << 20
_HIDDEN = ("checkpoint-", ".", "__pycache__", "node_modules")


def logs_in(folder: Path) -> list[Path]:
    """The logs of the runs right in a folder; a run of event files is the folder itself."""
    if find_event_files(folder) or any(
        split_of(below.name) for below in folders_with_events(folder)
    ):
        return concurrent_writers(folder) or [folder]
    state = newest_state(folder)
    ours = folder / "trainer_log.jsonl"
    if ours.is_file() and (state is None or state.parent != folder):
        return [ours]
    if state is not None:
        return [state]
    usual = [path for name in _USUAL if (path := folder / name).is_file() and has_rows(path)]
    newest = find_wandb_file(folder)
    return usual[:1] or ([newest] if newest else _named_like_logs(folder))


def newest_state(folder: Path) -> Path | None:
    """The `trainer_state.json` here or in a checkpoint that has come furthest."""
    states = [folder / STATE, *folder.glob(f"checkpoint-*/{STATE}")]
    found = [path for path in states if path.is_file()]
    return max(found, key=_steps_of) if found else None


def _steps_of(state: Path) -> tuple[int, float]:
    """`global_step`, and when it was written."""
    try:
        content = json.loads(read_bytes(state, limit=_LARGEST_STATE))
        written = state.stat().st_mtime
    except (OSError, ValueError, RecursionError):
        return -1, 0.0
    step = content.get("global_step") if isinstance(content, dict) else None
    return (step if isinstance(step, int) else 0), written


def _named_like_logs(folder: Path) -> list[Path]:
    """The files that may be logs by their names and hold rows, the likelier suffixes first."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    for suffixes in (_STRONG_SUFFIXES, _WEAK_SUFFIXES):
        found = [path for path in files if path.suffix.lower() in suffixes and has_rows(path)]
        if found:
            return [run for path in found for run in _runs_of(path)]
    return []


def _runs_of(file: Path) -> list[Path]:
    """The file, or the runs in it."""
    runs = trackio_log.runs_in(file) if trackio_log.database_of(file) == file else []
    return [file / run.name for run in runs] if len(runs) > 1 else [file]


def has_rows(path: Path) -> bool:
    """Whether the beginning of a file has a row of a log."""
    try:
        head = Head.of(path)
        known = format_of(head)
    except OSError:
        return False
    return known is not None and not not_a_log(head, known) and known.has_rows(head)


def runs_at(path: Path) -> list[Path]:
    """The logs of all runs in a folder, or in a file.

    Those below a folder that has a log are of the same run, unless they are event files.
    """
    if not path.is_dir():
        return _runs_of(path) if path.is_file() else []
    here = logs_in(path)
    return here if here and path not in here else here + logs_below(path)


def logs_below(folder: Path) -> list[Path]:
    """The logs of the runs in the folders below."""
    found: list[Path] = []
    owned: list[Path] = []
    parts = {source.path.parent for source in sources_in(folder)}
    for below in _folders_below(folder):
        if below in parts or any(below.is_relative_to(owner) for owner in owned):
            continue
        here = logs_in(below)
        found += here
        if below in here:
            parts |= {source.path.parent for source in sources_in(below)}
        elif here:
            owned.append(below)
    return found


def _folders_below(folder: Path) -> Iterator[Path]:
    seen = 0
    for place, names, _ in os.walk(folder):
        below = Path(place)
        names[:] = sorted(name for name in names if not name.startswith(_HIDDEN))
        if len(below.relative_to(folder).parts) >= _DEPTH:
            names.clear()
        if os.path.lexists(below / _RUN_OF_OURS):  # A link there is a broken run.
            names.clear()
            continue
        seen += 1
        if seen > _MOST_FOLDERS:
            return
        if below != folder:
            yield below


def last_written(log: Path) -> float:
    """When a log was written last, in Unix seconds; 0 where that is not known."""
    if log.is_dir():
        files = [source.path for source in sources_in(log)]
    else:
        file = trackio_log.database_of(log) or log
        files = [file, Path(f"{file}-wal")]
    return max((found for file in files if (found := _changed(file)) is not None), default=0.0)


def _changed(file: Path) -> float | None:
    try:
        return file.stat().st_mtime
    except OSError:
        return None


def newest_first(logs: list[Path]) -> list[Path]:
    """By when they were written."""
    return sorted(logs, key=last_written, reverse=True)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for number, name in enumerate(("a", "b")):
            state = root / "hf" / f"checkpoint-{name}" / STATE
            state.parent.mkdir(parents=True)
            state.write_text(json.dumps({"global_step": 40 - number}))
        print(newest_state(root / "hf"), logs_below(root))
        assert logs_below(root) == [root / "hf" / "checkpoint-a" / STATE]
    print("=== 自测通过 ===")
