"""The logs in a folder: which one is the run's, and which runs lie in the folders below."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from lmm_tui.guarded_files import read_bytes
from lmm_tui.metrics.readers.event_files import find_event_files
from lmm_tui.metrics.readers.log_formats import Head, format_of
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


def log_in(folder: Path) -> Path | None:
    """The log right in a folder, which stands for it, or None; the folder, for event files."""
    if find_event_files(folder):
        return folder
    state = newest_state(folder)
    ours = folder / "trainer_log.jsonl"
    if ours.is_file() and (state is None or state.parent != folder):
        return ours
    if state is not None:
        return state
    usual = next((path for name in _USUAL if (path := folder / name).is_file()), None)
    return usual or find_wandb_file(folder) or _only_log(folder)


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


def _only_log(folder: Path) -> Path | None:
    """The only file that may be a log by its name, or of several the one that holds rows."""
    for suffixes in (_STRONG_SUFFIXES, _WEAK_SUFFIXES):
        named = [path for path in folder.iterdir() if path.suffix.lower() in suffixes]
        chosen = [path for path in named if path.is_file() and has_rows(path)]
        if chosen:
            return max(chosen, key=lambda path: path.stat().st_mtime)
    return None


def has_rows(path: Path) -> bool:
    """Whether the beginning of a file has a row of a log."""
    try:
        head = Head.of(path)
        known = format_of(head)
    except OSError:
        return False
    return known is not None and known.has_rows(head)


def logs_below(folder: Path) -> list[Path]:
    """The logs in the folders below, one for each folder that has one."""
    found: list[Path] = []
    for below in _folders_below(folder):
        log = log_in(below)
        if log is not None and not any(log.is_relative_to(other) for other in found):
            found.append(log)
    return found


def _folders_below(folder: Path) -> Iterator[Path]:
    seen = 0
    for place, names, _ in os.walk(folder):
        below = Path(place)
        names[:] = sorted(name for name in names if not name.startswith(_HIDDEN))
        if len(below.relative_to(folder).parts) >= _DEPTH:
            names.clear()
        if (below / _RUN_OF_OURS).exists():
            names.clear()
            continue
        seen += 1
        if seen > _MOST_FOLDERS:
            return
        if below != folder:
            yield below


def newest_first(logs: list[Path]) -> list[Path]:
    """By when they were written."""

    def written(log: Path) -> float:
        files = find_event_files(log) if log.is_dir() else [log]
        return max((file.stat().st_mtime for file in files), default=0.0)

    return sorted(logs, key=written, reverse=True)


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
