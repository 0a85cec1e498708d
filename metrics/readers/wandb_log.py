"""A run of Weights & Biases from its `.wandb` files, followed while it is written, without wandb.

It knows where such files are and when they grow; what is in them, `wandb_frames` and
`wandb_history` know.
"""

from __future__ import annotations

import glob
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from lmm_tui.guarded_files import reading
from lmm_tui.message import Message
from lmm_tui.metrics.readers.log_facts import LogFacts
from lmm_tui.metrics.readers.metric_names import MetricNamer
from lmm_tui.metrics.readers.wandb_frames import BEGIN, BLOCK, Frames
from lmm_tui.metrics.readers.wandb_history import HistoryReader
from lmm_tui.metrics.series.series import SeriesStore

_CHUNK_BYTES = 32 * BLOCK
_MOST_REREADS = 8
_PART = re.compile(r"(?:offline-)?run-(?P<when>\d{8}_\d{6})-(?P<id>.+)")


def find_wandb_file(folder: Path) -> Path | None:
    """The log in the folder of a run of wandb's, or of the newest run in `wandb/`, or None."""
    # Their names begin with when they began.
    runs = sorted(folder.glob("*run-*/"), key=lambda run: run.name.removeprefix("offline-"))
    for place in (folder, *reversed(runs)):
        found = next((path for path in sorted(place.glob("run-*.wandb")) if path.is_file()), None)
        if found:
            return found
    return None


def parts_of(path: Path) -> list[Path]:
    """The files of the run that a file belongs to, in the order in which they were begun.

    A run that was resumed offline has a folder for each part, `offline-run-<when>-<id>`.
    """
    folder = path.parent.resolve()
    named = _PART.fullmatch(folder.name)
    if named is None or path.name != f"run-{named['id']}.wandb":
        return [path]
    found = []
    for other in folder.parent.glob(f"*run-*-{glob.escape(named['id'])}"):
        same = _PART.fullmatch(other.name)
        file = other / path.name
        if same is not None and same["id"] == named["id"] and file.is_file():
            found.append((same["when"], file))
    return [file for _, file in sorted(found)] or [path]


@dataclass
class _RunPart:
    """One file, and how far it was read."""

    path: Path
    frames: Frames = field(default_factory=Frames)
    seen: tuple[int, int, int] | None = None

    def read(self) -> tuple[list[bytes], bool]:
        """The records in the next piece, and whether there is more. Raises OSError."""
        with reading(self.path) as file:
            offset = file.seek(self.frames.offset)
            data = file.read(_CHUNK_BYTES - offset % BLOCK)
        assert self.seen is not None
        return self.frames.take(data), offset + len(data) < self.seen[1]


class WandbFollower:
    """Keeps a store up to date with the files of one run."""

    def __init__(self, path: Path, store: SeriesStore) -> None:
        self.behind = False
        """Whether the files hold more than has been read so far."""
        self._path = path
        self._store = store
        self._namer = MetricNamer()
        self._rereads = 0
        self._begin()

    def _begin(self, step_metric: str | None = None, *, by_row: bool = False) -> None:
        self._store.clear()
        self._parts: list[_RunPart] = []
        self._namer.restart()
        self._history = HistoryReader(self._store, self._namer, step_metric, by_row=by_row)
        self._unreadable = 0
        self._by_row = by_row

    @property
    def facts(self) -> LogFacts:
        """What the run says of itself."""
        return self._history.notes.facts

    @property
    def notes(self) -> list[str]:
        """What of the log is not in the series as it stands there, as sentences."""
        warnings = self._history.placer.notes
        if len(self._parts) > 1:
            warnings.append(Message("{parts} parts of one run are joined", parts=len(self._parts)))
        if count := self._history.notes.samples.left_out:
            warnings.append(
                Message(
                    "{count} system values left out: a later one is at the same step", count=count
                )
            )
        return warnings

    @property
    def bad_lines(self) -> int:
        """Records that could not be read."""
        return sum(part.frames.damaged for part in self._parts) + self._unreadable

    def poll(self, budget_s: float | None = None) -> bool:
        """Read what is new, for at most about `budget_s` seconds; True where that was anything."""
        deadline = None if budget_s is None else time.perf_counter() + budget_s
        before = self._store.version, self.bad_lines, self.facts.end
        self.behind = self._look()
        while self.behind:
            self.behind = self._read_on()
            if deadline and time.perf_counter() >= deadline:
                break
        if not self.behind and self._must_count_rows():
            self._begin(by_row=True)
            return self.poll(budget_s)
        return (self._store.version, self.bad_lines, self.facts.end) != before

    def _look(self) -> bool:
        """Whether any file has grown since it was read; begins again where one was replaced."""
        known = {part.path: part for part in self._parts}
        grown = self.behind
        for path in parts_of(self._path):
            part = known.get(path)
            if part is None:
                part = _RunPart(path)
                self._parts.append(part)
            try:
                found = path.stat()
            except OSError:
                continue
            seen = found.st_ino, found.st_size, found.st_mtime_ns
            if part.seen and (seen[0] != part.seen[0] or seen[1] < part.seen[1]):
                self._begin()
                return self._look()
            grown |= seen != part.seen
            part.seen = seen
        return grown

    def _read_on(self) -> bool:
        """Read a piece of the first file that has one; whether there may be more."""
        for at, part in enumerate(self._parts):
            if part.seen is None or part.frames.offset >= part.seen[1]:
                continue
            if at and part.frames.offset == BEGIN:
                self._history.begin_part()
            before = part.frames.offset
            try:
                records, more = part.read()
            except OSError:
                continue
            self._unreadable += self._history.add(records)
            if self._must_begin_again():
                self._begin(self._history.better_step_metric or self._history.step_metric)
                return self._look()
            if more or part.frames.offset > before:
                return True
        self._history.add_remaining()
        return False

    def _must_begin_again(self) -> bool:
        """Whether a better step, or a better name of a metric, has come; seldom, and early."""
        if not (self._namer.contested or self._history.better_step_metric):
            return False
        self._rereads += 1
        return self._rereads <= _MOST_REREADS

    def _must_count_rows(self) -> bool:
        """Whether the metric that the run names as its step was never measured."""
        return bool(self._unreadable) and not len(self._store) and not self._by_row


if __name__ == "__main__":
    import tempfile
    import zlib

    from lmm_tui.metrics.readers.wandb_frames import FULL, HEADER, MAGIC

    body = bytes.fromhex("1200 0a0b 12055f73746570 82010133 0a0c 12046c6f7373 820103322e35")
    body = body[:1] + bytes([len(body) - 2]) + body[2:]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "offline-run-1" / "run-1.wandb"
        log.parent.mkdir()
        framed = HEADER.pack(zlib.crc32(bytes([FULL]) + body), len(body), FULL) + body
        log.write_bytes(MAGIC + framed + framed[:20])
        series = SeriesStore()
        assert find_wandb_file(Path(folder)) == log
        follower = WandbFollower(log, series)
        assert follower.poll() and not follower.poll()
        print(series.names(), series.last_step, "bad records:", follower.bad_lines)
        assert series.last_step == 3 and not follower.bad_lines
    print("=== 自测通过 ===")
