"""The points in the records of TensorBoard event files, by tag.

Events of one plain number are read many at once; all others go one by one through `event_message`.
It knows no files and no names of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lmm_tui.metrics.readers.event_message import MessageError, read_event
from lmm_tui.metrics.readers.event_records import Bytes, Records
from lmm_tui.metrics.series.growing_array import Floats, GrowingArray, Ints
from lmm_tui.metrics.series.series import MAX_STEP


@dataclass(frozen=True)
class SessionStart:
    """Where a writer began again: in which record, and at which step."""

    order: int
    step: int


class Points:
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

    @property
    def repeated(self) -> int:
        """How many values another one of the same step replaces."""
        return len(self) - len(self.in_order()[0])

    def add(self, other: Points) -> None:
        self._extend(other.steps.view, other.times.view, other.values.view)

    def drop_from(self, step: int) -> int:
        """Drop what is at or after `step`; returns how many points that were."""
        keep = self.steps.view < step
        dropped = int((~keep).sum())
        if dropped:
            for column in (self.steps, self.times, self.values):
                kept = column.view[keep]
                column.truncate(0)
                column.extend(kept)
        return dropped

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


class FoundPoints:
    """What some records hold: points by tag, each with the number of its record."""

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[Ints, Ints, Floats, Floats]]] = {}
        self._single: dict[str, list[tuple[int, int, float, float]]] = {}
        self._starts: list[SessionStart] = []
        self.broken = 0
        """Records that are no event, and points whose step is none."""
        self.without_number: set[str] = set()
        """Tags of pictures, histograms, texts and tensors of several values."""
        self._from = 0

    def add(self, tag: str, order: Ints, steps: Ints, times: Floats, values: Floats) -> None:
        usable = np.abs(steps) <= MAX_STEP
        self.broken += len(steps) - int(usable.sum())
        part = order[usable], steps[usable], times[usable], values[usable]
        self._parts.setdefault(tag, []).append(part)

    def add_one(self, tag: str, point: tuple[int, int, float, float]) -> None:
        """Order, step, time and value."""
        self._single.setdefault(tag, []).append(point)

    def add_start(self, order: int, step: int) -> None:
        self._starts.append(SessionStart(order, step))

    def tags(self) -> list[str]:
        """In the order in which they were found first."""
        return list(dict.fromkeys((*self._parts, *self._single)))

    def session_starts(self) -> list[SessionStart]:
        return sorted(self._starts, key=lambda start: start.order)

    def until(self, start: SessionStart | None) -> Iterator[tuple[str, Points]]:
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
                yield tag, Points(*(column[chosen] for column in columns))


def read_points(records: Records, found: FoundPoints) -> None:
    for length in np.unique(records.lengths).tolist():
        at, rows = records.of_length(length)
        for index in _read_plain(at, rows, found).tolist():
            _read_message(int(at[index]), rows[index].tobytes(), found)


# Event: 09 wall_time(8) [10 step(varint)] 2a n <Summary>, Summary: 0a n <Value>,
# Value: 0a n tag, 15 simple_value(4). Protocol buffers leave out a step of 0.
_TIME, _STEP, _SUMMARY, _MESSAGE, _NUMBER, _FILE_VERSION = 0x09, 0x10, 0x2A, 0x0A, 0x15, 0x1A


def _read_plain(at: Ints, rows: Bytes, found: FoundPoints) -> Ints:
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


def _add_plain(at: Ints, rows: Bytes, base: int, found: FoundPoints) -> None:
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


def _read_message(order: int, data: bytes, found: FoundPoints) -> None:
    try:
        event = read_event(data)
    except MessageError:
        found.broken += 1
        return
    found.without_number.update(event.without_number)
    if event.starts_session:
        found.add_start(order, event.step)
    for tag, number in event.scalars:
        found.add_one(tag, (order, event.step, event.wall_time, number))


if __name__ == "__main__":
    points = Points([1, 2, 2], [0.0, 1.0, 2.0], [9.0, 8.0, 7.0])
    print(points.in_order(), points.drop_from(2))
    assert points.steps.view.tolist() == [1]
    print("=== 自测通过 ===")
