"""Scalars out of TensorBoard event files, of ours and of anybody else's, into a store, and on.

What a restarted session supersedes is dropped, as TensorBoard drops it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from lmm_tui.guarded_files import reading
from lmm_tui.message import Message
from lmm_tui.metrics.readers.event_points import FoundPoints, Points, read_points
from lmm_tui.metrics.readers.event_records import Records, split
from lmm_tui.metrics.readers.log_facts import LogFacts
from lmm_tui.metrics.readers.metric_names import (
    EPOCHS,
    TAKEN,
    MetricNamer,
    in_split,
    normal,
    split_of,
)
from lmm_tui.metrics.series.growing_array import Floats, Ints, union
from lmm_tui.metrics.series.series import SeriesStore

_CHUNK_BYTES = 8 << 20
_HEAD_BYTES = 1 << 16


def find_event_files(folder: Path) -> list[Path]:
    """The event files right in a folder, in the order in which they were begun."""
    return sorted(path for path in folder.glob("*tfevents*") if path.is_file())


@dataclass(frozen=True)
class EventSource:
    """A file, and the part of the run that it is of: the name of a folder below, or nothing."""

    path: Path
    part: str = ""

    def rename(self, tag: str) -> str:
        """The tag with what the folder says of it."""
        return (self.part and tag_in_part(tag, self.part)) or tag


def tag_in_part(tag: str, folder: str) -> str | None:
    """What a tag in a folder below a run is called, or None where that is a run of its own.

    `SummaryWriter.add_scalars("loss", {"train": …})` writes the tag `loss` into a folder
    `loss_train`; Keras writes into the folders `train` and `validation`.
    """
    begin = tag.replace("/", "_") + "_"
    if folder.startswith(begin) and len(folder) > len(begin):
        return f"{tag}/{folder.removeprefix(begin)}"
    return in_split(tag, folder.lower()) if split_of(folder) else None


def sources_in(folder: Path) -> list[EventSource]:
    """The event files of the run in a folder: those right in it and in the folders of its parts."""
    own = [EventSource(path) for path in find_event_files(folder)]
    return own + [
        EventSource(path, below.name)
        for below in folders_with_events(folder)
        if _is_part(below)
        for path in find_event_files(below)
    ]


def folders_with_events(folder: Path) -> list[Path]:
    """The folders right in this one that have event files."""
    return sorted({path.parent for path in folder.glob("*/*tfevents*") if path.is_file()})


def _is_part(folder: Path) -> bool:
    if split_of(folder.name):
        return True
    if "_" not in folder.name:
        return False
    try:
        tags = first_tags(find_event_files(folder)[0])
    except OSError:
        return False
    return bool(tags) and all(tag_in_part(tag, folder.name) for tag in tags)


def concurrent_writers(folder: Path) -> list[Path]:
    """The event files of a folder where several processes wrote the same tags at the same time.

    Then each is a run of its own; files that follow each other are one run, resumed.
    """
    files = find_event_files(folder)
    began = [_begun(path) for path in files]
    if all(path.stat().st_mtime <= later for path, later in zip(files, began[1:], strict=False)):
        return []
    spans = [_spans(path, path.stat().st_mtime_ns) for path in files]
    for earlier, later in pairwise(spans):
        for tag in earlier.keys() & later.keys():
            if later[tag][0] < earlier[tag][1]:
                return files
    return []


def _begun(path: Path) -> float:
    """When a file was begun, by its name; 0 where that does not tell."""
    found = re.search(r"tfevents\.(\d{9,11})", path.name)
    return float(found[1]) if found else 0.0


@lru_cache(maxsize=64)
def _spans(path: Path, written_ns: int) -> dict[str, tuple[float, float]]:
    """By tag, the first and the last time in a file; nothing where it cannot be read."""
    del written_ns  # Another one makes it be read again.
    found = FoundPoints()
    with suppress(OSError), reading(path) as file:
        read_points(split(file.read()), found)
    return {
        tag: (float(points.times.view[0]), float(points.times.view[-1]))
        for tag, points in found.until(None)
    }


def read_event_files(paths: list[Path]) -> SeriesStore:
    """All scalars of the files as one run; a file that ends torn counts up to there."""
    store = SeriesStore()
    sources = list(map(EventSource, paths))
    EventReader(lambda: sources, store).poll()
    return store


def first_tags(path: Path) -> list[str]:
    """The tags with numbers at the beginning of an event file. Raises OSError."""
    found = FoundPoints()
    with reading(path) as file:
        read_points(split(file.read(_HEAD_BYTES)), found)
    return found.tags()


class EventReader:
    """Keeps a store up to date with event files: each byte of them is read once.

    Of several values of a tag at a step the last one counts. A damaged record is left out and
    counted; where a length is damaged, what follows in that file cannot be found.
    """

    def __init__(
        self,
        find: Callable[[], Sequence[EventSource]],
        store: SeriesStore,
        namer: MetricNamer | None = None,
    ) -> None:
        """`find` gives the files there are now, the oldest first; `namer` what a tag is called,
        by default its own name."""
        self.bad_lines = 0
        """Records that could not be read, and files that are lost from a record on."""
        self.behind = False
        """Whether the files hold more than has been read so far."""
        self.facts = LogFacts()
        self._find = find
        self._store = store
        self._namer = namer
        self._begin()

    def _begin(self) -> None:
        self._names: dict[str, str] = {}
        self._files: dict[EventSource, _File] = {}
        self._points: dict[tuple[str, str], Points] = {}
        """By part and tag."""
        self._superseded = 0
        self._without_number: set[str] = set()
        self.bad_lines = 0

    @property
    def notes(self) -> list[str]:
        """What of the files is not in the series, as sentences."""
        warnings: list[str] = []
        if self._superseded:
            warnings.append(
                Message(
                    "{superseded} points left out: a resumed run repeats their steps",
                    superseded=self._superseded,
                )
            )
        if repeated := sum(points.repeated for points in self._points.values()):
            warnings.append(
                Message(
                    "{repeated} values left out: a later one has the same step", repeated=repeated
                )
            )
        numbers = {tag for _, tag in self._points}
        if others := len(self._without_number - numbers):
            warnings.append(
                Message("{others} tags are no curves: pictures, histograms, texts", others=others)
            )
        return warnings

    def poll(self, budget_s: float | None = None) -> bool:
        """Read what is new, for at most about `budget_s` seconds; True where that was anything."""
        deadline = None if budget_s is None else time.perf_counter() + budget_s
        before = self._store.version, self.bad_lines
        sources = self._find()
        if any(one not in sources or file.replaced() for one, file in self._files.items()):
            self._store.clear()
            self._begin()
        for source in sources:
            self._files.setdefault(source, _File(source.path))
        self.behind = True
        rebuild = False
        for source, file in self._files.items():
            for records in file.read():
                self.bad_lines += records.damaged + records.lost
                rebuild |= self._take(records, source)
                if deadline and time.perf_counter() >= deadline:
                    break
            else:
                continue
            break
        else:
            self.behind = False
        if rebuild:
            self._rebuild()
        return (self._store.version, self.bad_lines) != before

    def _take(self, records: Records, source: EventSource) -> bool:
        """Add the points of some records; whether the store must be built anew for them."""
        found = FoundPoints()
        read_points(records, found)
        self.bad_lines += found.broken
        self._without_number |= found.without_number
        tags = [source.rename(tag) for tag in found.tags()]
        new = [tag for tag in tags if tag not in self._names and normal(tag) not in EPOCHS]
        if self._namer is not None:
            self._namer.names(new)  # Together: the best one is chosen.
        last = self._store.last_step
        later: dict[str, Points] = {}
        rebuild = False
        for start in (*found.session_starts(), None):
            for written, points in found.until(start):
                tag = source.rename(written)
                self._points.setdefault((source.part, tag), Points()).add(points)
                later.setdefault(self._name(tag), Points()).add(points)
                rebuild |= last is not None and bool((points.steps.view < last).any())
            if start is not None:
                for (part, _), points in self._points.items():
                    dropped = points.drop_from(start.step) if part == source.part else 0
                    self._superseded += dropped
                    rebuild |= dropped > 0
        if not rebuild:
            self._extend(later, last)
        return rebuild

    def _name(self, tag: str) -> str:
        name = self._names.get(tag)
        if name is None:
            if self._namer is None:
                name = f"tag/{tag}" if tag in TAKEN else tag
            elif normal(tag) in EPOCHS and "epoch" not in self._names.values():
                name = "epoch"
            else:
                name = self._namer.name(tag)
            self._names[tag] = name
        return name

    def _rebuild(self) -> None:
        self._store.clear()
        whole: dict[str, Points] = {}
        for (_, tag), points in self._points.items():
            whole.setdefault(self._name(tag), Points()).add(points)
        self._extend(whole, None)

    def _extend(self, points: dict[str, Points], last: int | None) -> None:
        """Add points at or after the last step of the store."""
        columns = {name: found.in_order() for name, found in points.items() if len(found)}
        if not columns:
            return
        if last is not None:
            row = {}
            for name, (steps, times, values) in columns.items():
                if len(steps) and steps[0] == last:
                    row[name] = float(values[0])
                    columns[name] = steps[1:], times[1:], values[1:]
            if row:
                self._store.append({"step": last, **row})
        steps = union([steps for steps, _, _ in columns.values()])
        times, epochs = np.full(len(steps), np.nan), np.full(len(steps), np.nan)
        block: dict[str, tuple[Ints | None, Floats]] = {}
        for name, (own, at, values) in columns.items():
            if not len(own):
                continue
            rows = None if len(own) == len(steps) else steps.searchsorted(own)
            places = slice(None) if rows is None else rows
            times[places] = np.where(at == 0, np.nan, at)  # So an event without a time reads.
            if name == "epoch":
                epochs[places] = values
            else:
                block[name] = rows, values
        self._store.extend(steps, block, times, epochs=epochs)


class _File:
    """One event file, read on from where it was left."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._seen: tuple[int, ...] = ()
        self._lost = False

    def replaced(self) -> bool:
        """Whether it is no longer the file whose first bytes were read."""
        try:
            found = self._path.stat()
        except OSError:
            return True
        return bool(self._seen) and (found.st_ino != self._seen[0] or found.st_size < self._offset)

    def read(self) -> Iterator[Records]:
        """The whole records that are new, some megabytes at a time."""
        try:
            found = self._path.stat()
            seen = (found.st_ino, found.st_size, found.st_mtime_ns)
            if self._lost or seen == self._seen:
                return
            with reading(self._path) as file:
                size = _CHUNK_BYTES
                ended = False
                while not (ended or self._lost):
                    file.seek(self._offset)
                    data = file.read(size)
                    ended = len(data) < size
                    records = split(data)
                    self._offset += records.consumed
                    self._lost = records.lost
                    if ended:
                        self._seen = seen
                    if records.consumed or records.lost:
                        yield records
                    else:
                        size *= 4  # For a record that is larger than a chunk.
        except OSError:
            return


if __name__ == "__main__":
    import tempfile

    from lmm_tui.metrics.writers.tensorboard_mirror import TensorBoardMirror

    with tempfile.TemporaryDirectory() as folder:
        for first in (0, 5):
            mirror = TensorBoardMirror(Path(folder))
            for at in range(first, first + 8):
                mirror.write(at, 1e9 + at, {"train/loss": float(at + first)})
            mirror.close()
        series = read_event_files(find_event_files(Path(folder))).get("train/loss")
        assert series is not None
        print(series.steps.tolist(), series.values.tolist())
        assert series.steps.tolist() == list(range(13)) and series.last_value == 17.0
    print("=== 自测通过 ===")
