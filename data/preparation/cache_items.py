"""What a cache folder holds, and which of it to remove: read without opening any tokens.

Only what this program wrote is an item. Everything else in the folder is left alone.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lmm_tui.data.preparation.cache import LOCK, bytes_in, hold_alone, read_json, remove, runs_of

State = Literal["whole", "unfinished", "damaged", "leftover"]
"""`whole`: can be used. The others are orphans: `unfinished` will be gone on with if the same text
is prepared again, `damaged` lacks a file, `leftover` is of no use to anybody."""

_ENTRY = re.compile(r"[0-9a-f]{24}")
_UNFINISHED = re.compile(r"\.[0-9a-f]{24}\.partial")
_LEFTOVER = re.compile(r"\.[0-9a-f]{24}\.\w{7,8}|tmp\w{8}")
_EVALUATION = "evaluation"

ANSWERS, TASKS = "answers of a cancelled evaluation", "built-in evaluation tasks"
"""What things of evaluations are made of."""
_WRITTEN_S = 600
"""A version without locks may still be writing what has changed since."""


@dataclass(frozen=True)
class CacheItem:
    path: Path
    purpose: str
    """What it was made of."""
    state: State
    size: int
    """Bytes."""
    made: float
    used: float
    """Unix seconds: when it was written, and last read or written."""
    in_use: bool
    """A process reads or writes it now."""
    runs: tuple[str, ...]
    """Names of the runs that were trained on it and are still there."""


def cache_items(cache: Path) -> list[CacheItem]:
    """All items, the one used last first."""
    found: list[CacheItem] = []
    with suppress(FileNotFoundError, NotADirectoryError):
        found += [item for path in cache.iterdir() if (item := _text_item(path))]
    found += _evaluation_items(cache / _EVALUATION)
    return sorted(found, key=lambda item: (-item.used, item.path.name))


def orphans(items: Sequence[CacheItem]) -> list[CacheItem]:
    """What no process works on and no run can use as it is."""
    return [item for item in items if item.state != "whole" and not item.in_use]


def unused_since(items: Sequence[CacheItem], moment: float) -> list[CacheItem]:
    """What was not used after `moment`, items in use left out."""
    return [item for item in items if item.used < moment and not item.in_use]


def beyond(items: Sequence[CacheItem], size: int) -> list[CacheItem]:
    """What to remove so that at most `size` bytes stay: what was used longest ago first.

    Items in use stay, so that more than `size` may remain.
    """
    total = sum(item.size for item in items)
    chosen = []
    for item in sorted(items, key=lambda item: item.used):
        if total > size and not item.in_use:
            chosen.append(item)
            total -= item.size
    return chosen


def remove_item(item: CacheItem) -> bool:
    """Remove it; False, and it stays, where a process has come to use it since it was listed."""
    if item.path.parent.name == _EVALUATION and item.path.is_dir():
        return _while_nobody_evaluates(item.path.parent, lambda: remove(item.path))
    if item.path.is_dir():
        return remove(item.path)
    return _while_nobody_evaluates(item.path.parents[1], lambda: _unlinked(item.path))


def _unlinked(path: Path) -> bool:
    path.unlink(missing_ok=True)
    return True


def _while_nobody_evaluates(folder: Path, action: Callable[[], bool]) -> bool:
    lease = hold_alone(folder)
    if lease is None:
        return False
    try:
        return action()
    finally:
        lease.close()


def _text_item(path: Path) -> CacheItem | None:
    name = path.name
    if not path.is_dir():
        return None
    if _UNFINISHED.fullmatch(name):
        return _item(path, _source(path / "plan.json"), "unfinished")
    if _LEFTOVER.fullmatch(name):
        return _item(path, "", "leftover")
    if not _ENTRY.fullmatch(name):
        return None
    is_whole = (path / "tokens.bin").is_file() and (path / "corpus.json").is_file()
    return _item(path, _source(path / "corpus.json"), "whole" if is_whole else "damaged")


def _evaluation_items(folder: Path) -> Iterator[CacheItem]:
    if not folder.is_dir():
        return
    in_use = _is_held(folder)
    for path in folder.glob("answers/*.jsonl"):
        yield _item(path, ANSWERS, "whole", in_use)
    for path in folder.glob("tasks-*"):
        yield _item(path, TASKS, "whole", in_use)
    for path in folder.iterdir():
        if _LEFTOVER.fullmatch(path.name):
            yield _item(path, "", "leftover", in_use)


def _item(path: Path, purpose: str, state: State, in_use: bool | None = None) -> CacheItem:
    times = [0.0]
    with suppress(OSError):
        files = [file for file in path.iterdir() if file.name != LOCK] if path.is_dir() else []
        times = [file.stat().st_mtime for file in files or [path]]
    made, used = min(times), max(times)
    with suppress(OSError):
        used = max(used, (path / LOCK).stat().st_mtime)
    held = _is_held(path) if in_use is None else in_use
    if state == "leftover" and not path.name.endswith(".removed"):
        held |= time.time() - used < _WRITTEN_S
    runs = tuple(run.name for run in runs_of(path))
    return CacheItem(path, purpose, state, bytes_in(path), made, used, held, runs)


def _is_held(folder: Path) -> bool:
    """Whether a process reads or writes a folder that has a lock."""
    if not (folder / LOCK).exists():
        return False
    with suppress(OSError):
        lease = hold_alone(folder)
        if lease is None:
            return folder.exists()
        lease.close()
    return False


def _source(record: Path) -> str:
    return str(read_json(record).get("source", ""))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        demo = Path(scratch, "a" * 24)
        demo.mkdir()
        Path(demo, "corpus.json").write_text('{"source": "texts/*.txt"}', "utf-8")
        (only,) = cache_items(Path(scratch))
        print(only)
        assert orphans([only]) == [only] and remove_item(only) and not cache_items(Path(scratch))
    print("=== 自测通过 ===")
