"""Scalars out of TensorBoard event files, of ours and of anybody else's, into a store, and on.

What a restarted session supersedes is dropped, as TensorBoard drops it. Events of one plain number
are read many at once; all others go one by one through `event_message`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lmm_tui.guarded_files import reading
from lmm_tui.metrics.readers.event_message import MessageError, read_event
from lmm_tui.metrics.readers.event_records import Bytes, Records, split
from lmm_tui.metrics.readers.metric_names import EPOCHS, TAKEN, MetricNamer, normal
from lmm_tui.metrics.series.growing_array import Floats, GrowingArray, Ints, union
from lmm_tui.metrics.series.series import MAX_STEP, SeriesStore

_CHUNK_BYTES = 8 << 20


def find_event_files(folder: Path) -> list[Path]:
    """The event files right in a folder, in the order in which they were begun."""
    return sorted(path for path in folder.glob("*tfevents*") if path.is_file())


def read_event_files(paths: list[Path]) -> SeriesStore:
    """All scalars of the files as one run; a file that ends torn counts up to there."""
    store = SeriesStore()
    EventReader(lambda: paths, store).poll()
    return store


class EventReader:
    """Keeps a store up to date with event files: each byte of them is read once.

    Of several values of a tag at a step the last one counts. A damaged record is left out and
    counted; where a length is damaged, what follows in that file cannot be found.
    """

    def __init__(
        self,
        find: Callable[[], list[Path]],
        store: SeriesStore,
        namer: MetricNamer | None = None,
    ) -> None:
        """`find` gives the files there are now, the oldest first; `namer` what a tag is called,
        by default its own name."""
        self.bad_lines = 0
        """Records that could not be read, and files that are lost from a record on."""
        self.behind = False
        """Whether the files hold more than has been read so far."""
        self._find = find
        self._store = store
        self._namer = namer
        self._names: dict[str, str] = {}
        self._files: dict[Path, _File] = {}
        self._points: dict[str, _Points] = {}

    def poll(self, budget_s: float | None = None) -> bool:
        """Read what is new, for at most about `budget_s` seconds; True where that was anything."""
        deadline = None if budget_s is None else time.perf_counter() + budget_s
        before = self._store.version, self.bad_lines
        paths = self._find()
        if any(path not in paths or file.replaced() for path, file in self._files.items()):
            self._start_over()
        for path in paths:
            self._files.setdefault(path, _File(path))
        self.behind = True
        rebuild = False
        for file in self._files.values():
            for records in file.read():
                self.bad_lines += records.damaged + records.lost
                rebuild |= self._take(records)
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

    def _start_over(self) -> None:
        self._files.clear()
        self._points.clear()
        self._store.clear()
        self.bad_lines = 0

    def _take(self, records: Records) -> bool:
        """Add the points of some records; whether the store must be built anew for them."""
        found = _Found()
        _read(records, found)
        if self._namer is not None:
            self._namer.names(found.new_tags(self._names))  # Together: the best one is chosen.
        last = self._store.last_step
        later: dict[str, _Points] = {}
        rebuild = False
        for start in (*found.session_starts(), None):
            for tag, points in found.until(start):
                own = self._points.setdefault(self._name(tag), _Points())
                own.add(points)
                later.setdefault(self._name(tag), _Points()).add(points)
                rebuild |= last is not None and bool((points.steps.view < last).any())
            if start is not None:
                for points in self._points.values():
                    rebuild |= points.drop_from(start.step)
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
        self._extend(self._points, None)

    def _extend(self, points: dict[str, _Points], last: int | None) -> None:
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
            times[places] = at
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


@dataclass(frozen=True)
class _SessionStart:
    order: int
    step: int


class _Points:
    """Steps, times and values of a tag in the order in which they were written."""

    def __init__(
        self, steps: ArrayLike = (), times: ArrayLike = (), values: ArrayLike = ()
    ) -> None:
        self.steps, self.times, self.values = (
            GrowingArray(np.int64),
            GrowingArray(float),
            GrowingArray(float),
        )
        self._extend(steps, times, values)

    def __len__(self) -> int:
        return len(self.steps)

    def add(self, other: _Points) -> None:
        self._extend(other.steps.view, other.times.view, other.values.view)

    def drop_from(self, step: int) -> bool:
        """Whether there was anything at or after `step`."""
        keep = self.steps.view < step
        if keep.all():
            return False
        for column in (self.steps, self.times, self.values):
            kept = column.view[keep]
            column.truncate(0)
            column.extend(kept)
        return True

    def in_order(self) -> tuple[Ints, Floats, Floats]:
        """By step; of several at one step the last that was written."""
        steps, times, values = self.steps.view, self.times.view, self.values.view
        if (np.diff(steps) > 0).all():
            return steps, times, values
        order = np.argsort(steps, kind="stable")
        last = order[np.append(np.diff(steps[order]) != 0, True)]
        return steps[last], times[last], values[last]

    def _extend(self, steps: ArrayLike, times: ArrayLike, values: ArrayLike) -> None:
        self.steps.extend(steps)
        self.times.extend(times)
        self.values.extend(values)


class _Found:
    """What some records hold: points by tag, each with the number of its record."""

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[Ints, Ints, Floats, Floats]]] = {}
        self._single: dict[str, list[tuple[int, int, float, float]]] = {}
        self._starts: list[_SessionStart] = []
        self._from = 0

    def add(self, tag: str, order: Ints, steps: Ints, times: Floats, values: Floats) -> None:
        usable = np.abs(steps) <= MAX_STEP
        part = order[usable], steps[usable], times[usable], values[usable]
        self._parts.setdefault(tag, []).append(part)

    def add_one(self, tag: str, point: tuple[int, int, float, float]) -> None:
        """Order, step, time and value."""
        self._single.setdefault(tag, []).append(point)

    def add_start(self, order: int, step: int) -> None:
        self._starts.append(_SessionStart(order, step))

    def new_tags(self, known: Container[str]) -> list[str]:
        """The tags that are not known, in order, without epochs."""
        tags = dict.fromkeys((*self._parts, *self._single))
        return [tag for tag in tags if tag not in known and normal(tag) not in EPOCHS]

    def session_starts(self) -> list[_SessionStart]:
        return sorted(self._starts, key=lambda start: start.order)

    def until(self, start: _SessionStart | None) -> Iterator[tuple[str, _Points]]:
        """Points of records before `start` that were not given before."""
        for tag, points in self._single.items():
            order, steps, times, values = map(np.array, zip(*points, strict=True))
            self.add(tag, order, steps, times, values.astype(float))
        self._single.clear()
        first, self._from = self._from, MAX_STEP if start is None else start.order
        for tag, parts in self._parts.items():
            order, *columns = (
                parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
            )
            chosen = np.flatnonzero((order >= first) & (order < self._from))
            chosen = chosen[np.argsort(order[chosen], kind="stable")]
            if len(chosen):
                yield tag, _Points(*(column[chosen] for column in columns))


def _read(records: Records, found: _Found) -> None:
    for length in np.unique(records.lengths).tolist():
        at, rows = records.of_length(length)
        for index in _read_plain(at, rows, found).tolist():
            _read_message(int(at[index]), rows[index].tobytes(), found)


# Event: 09 wall_time(8) [10 step(varint)] 2a n <Summary>, Summary: 0a n <Value>,
# Value: 0a n tag, 15 simple_value(4). Protocol buffers leave out a step of 0.
_TIME, _STEP, _SUMMARY, _MESSAGE, _NUMBER, _FILE_VERSION = 0x09, 0x10, 0x2A, 0x0A, 0x15, 0x1A


def _read_plain(at: Ints, rows: Bytes, found: _Found) -> Ints:
    """Take events of one plain number; which rows are something else."""
    count, length = rows.shape
    left = np.ones(count, bool)
    if not 21 <= length < 128 + 13:  # The shortest; from there on lengths take two bytes.
        return np.flatnonzero(left & (length > 9))
    timed = rows[:, 0] == _TIME
    left &= ~(timed & (rows[:, 9] == _FILE_VERSION))
    stepped = timed & (rows[:, 9] == _STEP)
    for width in range(11):
        base = 9 if width == 0 else 10 + width
        tag_length = length - base - 11
        if tag_length < 1 or length - base - 2 > 127:
            continue
        if width == 0:
            chosen = timed.copy()
        else:
            more = rows[:, 10 : 10 + width] >= 0x80
            chosen = stepped & more[:, :-1].all(1) & ~more[:, -1]
        fixed = (_SUMMARY, length - base - 2, _MESSAGE, length - base - 4, _MESSAGE, tag_length)
        for offset, byte in enumerate(fixed):
            chosen &= rows[:, base + offset] == byte
        chosen &= rows[:, length - 5] == _NUMBER
        where = np.flatnonzero(chosen)
        if len(where):
            left[where] = False
            _add_plain(at[where], rows[where], base, found)
    return np.flatnonzero(left)


def _add_plain(at: Ints, rows: Bytes, base: int, found: _Found) -> None:
    """Rows of one layout, whose summary begins at `base`."""
    times = _as(rows[:, 1:9], "<f8")
    values = _as(rows[:, -4:], "<f4").astype(float)
    steps = np.zeros(len(rows), np.uint64)
    for place, byte in enumerate(rows[:, 10:base].T):
        steps |= (byte & 0x7F).astype(np.uint64) << np.uint64(7 * place)
    for tag, chosen in _by_tag(rows[:, base + 6 : -5]):
        found.add(tag, at[chosen], steps[chosen].view(np.int64), times[chosen], values[chosen])


def _as(columns: Bytes, kind: str) -> Any:
    return np.ascontiguousarray(columns).view(kind).ravel()


def _by_tag(names: Bytes) -> Iterator[tuple[str, Ints]]:
    """Rows by what they are called; neighbours in a file seldom are called alike."""
    left = np.arange(len(names))
    while len(left):
        same = (names[left] == names[left[0]]).all(1)
        yield names[left[0]].tobytes().decode("utf-8", "replace"), left[same]
        left = left[~same]


def _read_message(order: int, data: bytes, found: _Found) -> None:
    try:
        event = read_event(data)
    except MessageError:
        return
    if event.starts_session:
        found.add_start(order, event.step)
    for tag, number in event.scalars:
        found.add_one(tag, (order, event.step, event.wall_time, number))


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
