"""The numbers of the steps in wandb's records, which are protocol buffers; columns at a time.

A record with history is a list of items, an item a name and a value as JSON. Whole chunks of plain
ones are taken apart by numpy; whatever is otherwise is read item by item, with the same outcome.
It knows no files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lmm_tui.metrics.readers.log_row import LogRow
from lmm_tui.metrics.readers.metric_names import MetricNamer, normal
from lmm_tui.metrics.readers.place_rows import RowPlacer
from lmm_tui.metrics.readers.wandb_messages import fields, json_values, key_and_value, varint
from lmm_tui.metrics.readers.wandb_notes import RunNotes
from lmm_tui.metrics.series.growing_array import Floats, Ints
from lmm_tui.metrics.series.row_values import number, whole_step
from lmm_tui.metrics.series.rows import numbers_among
from lmm_tui.metrics.series.series import MAX_STEP, SeriesStore

# Record: 08 number, 12 <History> or 1a <Summary>. History: 0a <Item> for each, 12 <step>.
# Item: [0a key] [12 nested_key]* 82 01 value_json. Lengths below 128 take one byte.
_HISTORY, _ITEM = 2, 1
_ITEM_TAG = 0x0A
_STEP_AT_END = re.compile(rb"\x12(?:\x00|[\x02-\x0b]\x08[\x80-\xff]*[\x00-\x7f])\Z")
_USUAL_START = re.compile(rb"\x08[\x80-\xff]*[\x00-\x7f](?:\x12|(\x1a))").match

_Columns: TypeAlias = dict[str, tuple[Ints, Floats]]
"""By name, in which rows there is a value, and the values."""


STEP_METRICS = ("train/global_step", "trainer/global_step", "global_step", "iter", "iteration")
"""Metrics that W&B's callbacks, or their users, take as the step, the likeliest first."""

_STEP, _TIME, _EPOCHS = "_step", "_timestamp", ("epoch", "train/epoch")


class HistoryReader:
    """Adds the history in records to a store."""

    def __init__(
        self,
        store: SeriesStore,
        namer: MetricNamer | None = None,
        step_metric: str | None = None,
        *,
        by_row: bool = False,
    ) -> None:
        """`by_row` takes wandb's own count of rows as the step, whatever else is there."""
        self.step_metric = step_metric or _STEP
        self._by_row = by_row
        """What the rows are placed by."""
        self.better_step_metric: str | None = None
        """One that has come since; begin again with it."""
        self.notes = RunNotes()
        self._store = store
        self._namer = namer or MetricNamer()
        self.placer = RowPlacer(store, self._namer)
        self._keys: dict[str, int] = {}
        """The names that were seen, numbered."""
        self._numbers: dict[bytes, int] = {}
        """The same by the names as they are in items."""
        self._last_step = float("nan")

    def add(self, records: list[bytes]) -> int:
        """Returns how many of the records could not be read."""
        histories, bad = [], 0
        for record in records:
            try:
                history = _history(record)
                if history is None:
                    self._note(record)
            except (ValueError, IndexError):
                bad += 1
                continue
            if history:
                histories.append(history)
        if not histories or self._add_columns(histories):
            return bad
        rows = []
        for history in histories:
            try:
                rows.append(self._row(history))
            except (ValueError, IndexError, RecursionError):
                bad += 1
        self.notes.samples.into(rows)
        return bad + self.placer.add(rows)

    def begin_part(self) -> None:
        """What follows is from a resumed run: a step that was there already is done again."""
        self.placer.expect_resume()

    def add_remaining(self) -> None:
        """Put what was measured after the last row there."""
        step = self._store.last_step
        if step is not None:
            self.placer.add([LogRow(values, step) for values in self.notes.samples.remaining()])

    def _note(self, record: bytes) -> None:
        self.notes.take(record)
        defined = self.notes.step_metric
        if not self._by_row and defined not in (None, self.step_metric):
            self.better_step_metric = defined

    def _prefer(self, metric: str) -> None:
        ranks = (*STEP_METRICS, _STEP)
        if self._by_row or self.step_metric not in ranks or self.notes.step_metric is not None:
            return  # The run itself says what its steps are.
        if ranks.index(metric) < ranks.index(self.step_metric):
            self.better_step_metric = metric

    def _add_columns(self, histories: list[bytes]) -> bool:
        """Add all, or nothing where they are not plain or their steps do not increase."""
        items = None if self.placer.restarts else _plain_items(histories)
        if items is None:
            return False
        try:
            numbers = self._numbers_of(items.names)
            values = json_values(items.json)
        except (ValueError, IndexError, RecursionError):
            return False
        columns = self._columns(numbers, items.rows, values) if len(values) == len(numbers) else {}
        count = len(histories)
        steps = _filled(_axis(columns.pop(self.step_metric, None), count), self._last_step)
        columns.pop(_STEP, None)
        if not _are_steps_after(self._store.last_step, steps):
            return False
        if len(set(map(normal, columns))) < len(columns):
            return False  # Spellings of one name: in one row or not, that makes a difference.
        self._last_step = float(steps[-1])
        times = _axis(columns.pop(_TIME, None), count)
        epochs = np.full(count, np.nan)
        for key in _EPOCHS:
            column = _axis(columns.pop(key, None), count)
            epochs = np.where(np.isnan(epochs), column, epochs)
        ours = self._namer.names(list(columns))
        block: dict[str, tuple[Ints | None, Floats]] = {
            name: (None if len(rows) == count else rows, floats)
            for name, (rows, floats) in zip(ours, columns.values(), strict=True)
        }
        block |= {name: (rows, floats) for name, rows, floats in self.notes.samples.at(times)}
        self._store.extend(steps.astype(np.int64), block, times, epochs=epochs)
        counts = {name: len(rows) for name, (rows, _) in zip(ours, columns.values(), strict=True)}
        self.placer.advance(counts, steps, times, epochs)
        return True

    def _columns(self, numbers: Ints, rows: Ints, values: list[Any]) -> _Columns:
        """By name; none where a row has two values of one name."""
        order = np.argsort(numbers, kind="stable")
        if ((np.diff(numbers[order]) == 0) & (np.diff(rows[order]) <= 0)).any():
            return {}
        positions, floats = numbers_among(values)
        if positions is not None:
            numbers, rows = numbers[positions], rows[positions]
            order = np.argsort(numbers, kind="stable")
        present, starts = np.unique(numbers[order], return_index=True)
        keys = list(self._keys)
        return {
            keys[number]: (rows[at], floats[at])
            for number, at in zip(present.tolist(), np.split(order, starts[1:]), strict=True)
        }

    def _numbers_of(self, encoded: list[bytes]) -> Ints:
        for item in dict.fromkeys(encoded):
            if item not in self._numbers:
                key, _ = key_and_value(item)
                self._numbers[item] = self._number_of(key)
        return np.array(list(map(self._numbers.__getitem__, encoded)))

    def _number_of(self, key: str) -> int:
        if key in STEP_METRICS and key not in self._keys:
            self._prefer(key)
        return self._keys.setdefault(key, len(self._keys))

    def _row(self, history: bytes) -> LogRow:
        keys, values = [], []
        for field, item in fields(history):
            if field == _ITEM:
                key, value = key_and_value(item)
                self._number_of(key)
                keys.append(key)
                values.append(value)
        found = dict(zip(keys, json_values(b"[" + b",".join(values) + b"]"), strict=True))
        step = whole_step(found.pop(self.step_metric, None))
        if step is not None:
            self._last_step = float(step)
        found.pop(_STEP, None)
        row = LogRow(step=None if np.isnan(self._last_step) else int(self._last_step))
        row.time = number(found.pop(_TIME, None))
        epochs = [number(found.pop(key, None)) for key in _EPOCHS]
        row.epoch = next((at for at in epochs if at is not None and not np.isnan(at)), None)
        row.values = {
            key: measured for key, given in found.items() if (measured := number(given)) is not None
        }
        return row


def _filled(steps: Floats, before: float) -> Floats:
    """Steps, where a row has none, of the row before."""
    missing = np.isnan(steps)
    if not missing.any():
        return steps
    at = np.where(missing, -1, np.arange(len(steps)))
    at = np.maximum.accumulate(at)
    return np.where(at < 0, before, steps[at])


def _history(record: bytes) -> bytes | None:
    start = _USUAL_START(record)
    if start is None:
        return dict(fields(record)).get(_HISTORY)
    if start[1]:  # Two of three records are summaries, which repeat the newest values.
        return b""
    length, at = varint(record, start.end())
    if at + length > len(record):
        raise ValueError("a history is longer than its record")
    return record[at : at + length]


@dataclass(frozen=True)
class _Items:
    """The items of some histories, in order."""

    rows: Ints
    """Of which history each is."""
    names: list[bytes]
    """As they are in the items, with tags and lengths."""
    json: bytes
    """An array of all values."""


def _plain_items(histories: list[bytes]) -> _Items | None:
    """None where anything is but items of less than 128 bytes that end in a value."""
    histories = [_STEP_AT_END.sub(b"", history) for history in histories]
    lengths = np.array(list(map(len, histories)))
    ends = lengths.cumsum()
    data = b"".join(histories) + b",,,"
    array = np.frombuffer(data, np.uint8)
    marks = np.flatnonzero((array[:-1] == 0x82) & (array[1:] == 0x01))
    stops = marks + 3 + array[marks + 2]
    rows = ends.searchsorted(marks, side="right")
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    if len(first) != len(histories) or (stops > ends[rows]).any():
        return None
    starts = np.append(0, stops[:-1])
    complete = np.array_equal(stops[np.append(first[1:], len(marks)) - 1], ends)
    starts[first] = ends - lengths
    are_items = (array[starts] == _ITEM_TAG) & (array[starts + 1] == stops - starts - 2)
    short = (array[starts + 1] < 0x80) & (array[marks + 2] < 0x80)
    if not (complete and (are_items & short).all()):
        return None
    names = [data[a:b] for a, b in zip((starts + 2).tolist(), marks.tolist(), strict=True)]
    return _Items(rows, names, _array_of(array, marks + 3, stops))


def _array_of(data: NDArray[np.uint8], starts: Ints, stops: Ints) -> bytes:
    """A JSON array of the texts from `starts` to `stops`, all of which end before `data` does."""
    change = np.zeros(len(data) + 1, np.int8)
    change[starts] = 1
    change[stops + 1] = -1
    inside = change[:-1].cumsum(dtype=np.int8).view(np.bool)
    text = data.copy()
    text[stops] = ord(",")
    text[stops[-1]] = ord("]")
    return b"[" + text[inside].tobytes()


def _are_steps_after(last: int | None, steps: Floats) -> bool:
    """Whether these are whole, and increase from the last one on; NaN is no step."""
    before = np.append(-np.inf if last is None else last, steps[:-1])
    with np.errstate(invalid="ignore"):
        good = (steps > before) & (np.abs(steps) <= MAX_STEP) & (steps == np.floor(steps))
    return bool(good.all())


def _axis(column: tuple[Ints, Floats] | None, count: int) -> Floats:
    """A column over all rows; NaN where it has no value."""
    values = np.full(count, np.nan)
    if column is not None:
        values[column[0]] = column[1]
    return values


if __name__ == "__main__":

    def field(tag: bytes, data: bytes) -> bytes:
        return tag + bytes([len(data)]) + data

    def record(**values: str) -> bytes:
        items = [
            field(b"\x0a", field(b"\x12", key.encode()) + field(b"\x82\x01", value.encode()))
            for key, value in values.items()
        ]
        return b"\x08\x01" + field(b"\x12", b"".join(items))

    demo = SeriesStore()
    reader = HistoryReader(demo)
    plain = [record(_step=str(step), loss="2.5", note='"x"') for step in range(3)]
    assert reader.add([*plain, record(_step="3", acc="NaN")]) == 0
    assert reader.add([record(_step="3", acc="1", note=f'"{"x" * 90}"'), b"\xff"]) == 1
    print(demo.names(), demo.last_step)
    assert demo.names() == ["train/loss", "acc"] and demo.last_step == 3
    print("=== 自测通过 ===")
