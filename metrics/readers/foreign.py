"""Logs of other people's training, followed like our own: what a path is, is found out here.

TensorBoard folders and event files, Hugging Face `trainer_state.json`, Lightning's `metrics.csv`,
offline runs of W&B, JSON lines or CSV with a step column, and console output. It knows no run
directory and no screen; a run directory of ours is for others to recognise.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol

from lmm_tui.errors import LmmError
from lmm_tui.metrics.readers.event_files import EventReader, find_event_files
from lmm_tui.metrics.readers.json_lines import MetricsFollower, ParseLines
from lmm_tui.metrics.readers.log_lines import (
    OURS,
    ConsoleLines,
    CsvLines,
    JsonLines,
    LineParser,
    under_our_names,
)
from lmm_tui.metrics.readers.wandb_log import WandbFollower, find_wandb_file
from lmm_tui.metrics.series.rows import Row, add_rows
from lmm_tui.metrics.series.series import SeriesStore

_PARSERS: dict[str, type[LineParser]] = {
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
    ".csv": CsvLines,
    ".log": ConsoleLines,
    ".txt": ConsoleLines,
    ".out": ConsoleLines,
}
_STATE = "trainer_state.json"
_WANDB = ".wandb"
_SUMMARY = "train_runtime"
"""Is in the last entry of an ended training, whose `train_loss` is a mean over all its steps."""


class UnknownLogError(LmmError):
    """A path that is no log we can read."""


class LogFollower(Protocol):
    """What every follower offers, `metrics.readers.json_lines.MetricsFollower` among them."""

    @property
    def bad_lines(self) -> int:
        """What could not be read, counted."""
        ...

    @property
    def behind(self) -> bool:
        """Whether more is there than has been read so far."""
        ...

    def poll(self, budget_s: float | None = None) -> bool:
        """Read what is new; True where that was anything."""
        ...


def open_log(path: Path, store: SeriesStore) -> LogFollower:
    """A follower that keeps `store` up to date with the log at `path`, a file or a folder.

    Raises UnknownLogError where `path` is nothing that can be read.
    """
    if not path.exists():
        raise UnknownLogError(f"{path}: no such file or folder; give a log or a run")
    if path.is_dir():
        if find_event_files(path):
            return _follow_events(path, store)
        found = _log_in(path)
        if found is None:
            raise UnknownLogError(
                f"{path}: holds no log that is known; give a file of JSON lines, CSV or output"
            )
        path = found
    if "tfevents" in path.name:
        return _follow_events(path, store)
    if path.name == _STATE:
        return StateFollower(path, store)
    if path.suffix == _WANDB:
        return WandbFollower(path, store)
    parser = _PARSERS.get(path.suffix.lower())
    if parser is None:
        raise UnknownLogError(
            f"{path}: is no log that is known; it may end in {', '.join([*_PARSERS, _WANDB])}, "
            f"be a {_STATE} or a TensorBoard file"
        )
    return MetricsFollower(path, store, lambda: _all_by(parser()))


def is_log(path: Path) -> bool:
    """Whether a path may be a log: any file, or a folder that holds one we know."""
    return path.is_file() or bool(find_event_files(path)) or _log_in(path) is not None


def log_of(path: Path) -> Path:
    """The file whose age tells whether the log at `path` is still written."""
    if path.is_dir():
        events = find_event_files(path)
        return events[-1] if events else _log_in(path) or path
    return path


def _log_in(folder: Path) -> Path | None:
    states = [folder / _STATE, *folder.glob(f"checkpoint-*/{_STATE}")]
    newest = sorted((path for path in states if path.is_file()), key=lambda at: at.stat().st_mtime)
    if newest:
        return newest[-1]
    usual = folder / "metrics.csv", folder / "metrics.jsonl"
    return next((path for path in usual if path.is_file()), None) or find_wandb_file(folder)


def _all_by(parser: LineParser) -> ParseLines:
    """Line by line; blank ones are no rows and not broken."""

    def parse(lines: list[bytes]) -> tuple[list[Row], int]:
        found = [parser.row(line) for line in lines if line.strip()]
        return [row for row in found if row], found.count(None)

    return parse


class StateFollower:
    """Follows the `trainer_state.json` of Hugging Face's Trainer, which is replaced as a whole."""

    behind = False

    def __init__(self, path: Path, store: SeriesStore) -> None:
        self._path = path
        self._store = store
        self._seen: tuple[int, int] | None = None
        self.bad_lines = 0

    def poll(self, budget_s: float | None = None) -> bool:
        """All or nothing, whatever the budget."""
        del budget_s
        try:
            found = self._path.stat()
        except OSError:
            return False
        seen = found.st_size, found.st_mtime_ns
        if seen == self._seen:
            return False
        self._seen = seen
        rows = self._read()
        if rows is None:
            self.bad_lines += 1
        else:
            self._store.clear()
            add_rows(self._store, rows)
        return True

    def _read(self) -> list[Row] | None:
        """All rows, or None where the file can't be read as it is now."""
        try:
            history = json.loads(self._path.read_text(encoding="utf-8"))["log_history"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        if not isinstance(history, list):
            return None
        entries = [entry for entry in history if isinstance(entry, dict)]
        rows = [under_our_names(entry) for entry in entries if _SUMMARY not in entry]
        return [row for row in rows if row is not None]


def _follow_events(path: Path, store: SeriesStore) -> EventReader:
    """One file, or all right in a folder."""

    def files() -> list[Path]:
        return find_event_files(path) if path.is_dir() else [path]

    return EventReader(files, store, lambda tag: OURS.get(tag.lower(), tag))


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "metrics.csv"
        file.write_text("epoch,step,train_loss,val_loss\n0,9,2.5,\n0,9,,2.75\nbroken\n")
        series = SeriesStore()
        follower = open_log(Path(folder), series)
        assert follower.poll() and not follower.poll()
        print(series.names(), series.last_step, "bad lines:", follower.bad_lines)
        assert len(series) == 1 and follower.bad_lines == 1
    print("=== 自测通过 ===")
