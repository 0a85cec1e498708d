"""The steps at which the rows of a log belong, where the log does not simply count upwards.

Steps that begin again with each epoch are counted on; a row without a step belongs to its epoch or
to the row before. A row of an earlier step is merged there: it is a validation or a summary that
came late. Only where time goes on while the same metrics continue below, a run was resumed: what it
supersedes is dropped. What is dropped or replaced is counted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np

from lmm_tui.message import Message
from lmm_tui.metrics.readers.log_row import Columns, LogRow
from lmm_tui.metrics.readers.metric_names import MetricNamer, in_split, normal, own_kind
from lmm_tui.metrics.series.growing_array import Floats, Ints
from lmm_tui.metrics.series.row_values import MAX_STEP
from lmm_tui.metrics.series.rows import Row, add_rows, rows_from
from lmm_tui.metrics.series.series import SeriesStore

_AXES = ("step", "time", "tokens", "epoch")


class RowPlacer:
    """Adds the rows of one log to a store."""

    def __init__(self, store: SeriesStore, namer: MetricNamer) -> None:
        self.superseded = 0
        """Rows that were dropped where a run was resumed."""
        self.replaced = 0
        """Values that another value of the same metric and step replaced."""
        self.restarts = 0
        """How often the steps began again."""
        self._store = store
        self._namer = namer
        self._pending: list[tuple[int, Row, bool]] = []
        """Step, row, and whether it came after rows of later steps."""
        self._last: int | None = None
        """The highest step so far."""
        self._current: int | None = None
        """The step of the last row."""
        self._offset = 0
        self._raw: int | None = None
        """The highest step as the log counts, since it last began again."""
        self._first = 0
        """The lowest one."""
        self._stride = 1
        self._epoch: float | None = None
        self._first_epoch: float | None = None
        self._time = 0.0
        self._stepped = False
        self._counted = False
        self._own_last: dict[str, int] = {}
        """By metric, the last step as the log counts."""
        self._seen: Counter[str] = Counter()
        self._rows = 0
        self._resumes = False

    @property
    def notes(self) -> list[str]:
        """What was done with rows that the log does not simply count upwards, as sentences."""
        warnings: list[str] = []
        if self.restarts:
            warnings.append(
                Message(
                    "the steps begin again once; they are counted on"
                    if self.restarts == 1
                    else "the steps begin again {times} times; they are counted on",
                    times=self.restarts,
                )
            )
        if self.superseded:
            warnings.append(
                Message(
                    "{superseded} rows left out: a resumed run repeats their steps",
                    superseded=self.superseded,
                )
            )
        if self.replaced:
            warnings.append(
                Message(
                    "{replaced} values left out: a later one has the same step",
                    replaced=self.replaced,
                )
            )
        return warnings

    def expect_resume(self) -> None:
        """The writer says that the run was resumed: the next row supersedes what it repeats."""
        self._resumes = True

    def add_columns(self, columns: Columns) -> bool:
        """Add many rows at once; False, and nothing is added, where they need to be placed."""
        last = self._store.last_step
        steps, epochs = self._placed_columns(columns)
        if self.restarts or not len(steps) or (last is not None and steps[0] <= last):
            return False
        if len(set(map(normal, columns.values))) < len(columns.values):
            return False
        if columns.counted and self._stepped:
            return False
        ours = self._namer.names(list(columns.values))
        named = list(zip(ours, columns.values.values(), strict=True))
        block = {
            name: (None if len(rows) == len(steps) else rows, values)
            for name, (rows, values) in named
        }
        self._store.extend(steps, block, epochs=epochs)
        if columns.counted:
            self._last = self._current = int(steps[-1])
            self._see_epochs(columns.epochs)
            return True
        counts = {name: len(rows) for name, (rows, _) in named}
        times = np.full(len(steps), np.nan)
        self.advance(counts, steps.astype(float), times, columns.epochs)
        for name, (rows, _) in named:
            self._own_last[name] = int(steps[rows[-1]])
        return True

    def _placed_columns(self, columns: Columns) -> tuple[Ints, Floats]:
        """The steps and the epochs of rows."""
        if columns.counted:
            return columns.steps + (self._last or 0), columns.epochs
        length = columns.steps_an_epoch
        if not length:
            return columns.steps, columns.epochs
        first = self._first_epoch
        if first is None:
            first = min(float(int(columns.epochs[0])), 1.0)
        within = columns.steps - columns.epochs.astype(np.int64) * length
        return columns.steps - int(first) * length, columns.epochs - first + within / length

    def _see_epochs(self, epochs: Floats) -> float | None:
        """Note the first epoch; returns the last of these."""
        known = epochs[np.abs(epochs) <= MAX_STEP]
        if not len(known):
            return None
        if self._first_epoch is None:
            self._first_epoch = min(float(int(known[0])), 1.0)
        return float(known[-1])

    def advance(
        self, counts: Mapping[str, int], steps: Floats, times: Floats, epochs: Floats
    ) -> None:
        """Note rows that were added to the store otherwise, with increasing steps; NaN: unknown.

        `counts` are the values of each metric.
        """
        first, last = int(steps[0]), int(steps[-1])
        self._resumes = False
        if self._raw is None:
            self._first = first
        self._stride = int(steps[-1] - steps[-2]) if len(steps) > 1 else max(self._stride, 1)
        self._raw = self._last = self._current = last
        self._own_last.update(dict.fromkeys(counts, last))
        self._seen.update(counts)
        self._rows += len(steps)
        self._stepped = True
        self._time = float(np.nanmax(times, initial=self._time))
        epoch = self._see_epochs(epochs)
        self._epoch = self._epoch if epoch is None else epoch

    def add(self, rows: list[LogRow]) -> int:
        """Add rows in order; returns how many were left out, as they have no place."""
        left_out = 0
        for row in rows:
            left_out += not self._place(row)
        self._flush()
        return left_out

    def _place(self, row: LogRow) -> bool:
        if not row.values:
            return True
        if row.epoch is not None and not abs(row.epoch) <= MAX_STEP:
            row.epoch = None
        names = self._names(row)
        if self._is_without_step(row):
            row.step = None
        elif self._is_of_epoch(row, names):
            row.step, row.split = None, "val"
            pairs = zip(row.values, names, strict=True)
            names = self._namer.names(
                [in_split(name, "val") if ours in self._seen else name for name, ours in pairs]
            )
        placed: Row = dict(zip(names, row.values.values(), strict=True))
        step = self._step_of(row, placed)
        if step is None:
            return False
        if row.time is not None:
            placed["time"] = row.time
            self._time = max(self._time, row.time)
        if row.tokens is not None:
            placed["tokens"] = row.tokens
        epoch = self._epoch_axis(row)
        if epoch is not None:
            placed["epoch"] = epoch
        late = self._last is not None and step < self._last
        self._pending.append((step, placed, late))
        self._last = step if self._last is None else max(self._last, step)
        self._current = step
        return True

    def _names(self, row: LogRow) -> list[str]:
        theirs = list(row.values)
        if row.split:
            theirs = [in_split(name, row.split) for name in theirs]
        elif row.step is None and self._stepped:
            # A summary of an epoch has the names of the steps; it is no point of their curves.
            known = self._namer.names(theirs)
            theirs = [
                f"epoch/{name}" if self._own_last.get(ours, None) is not None and own_kind(name)
                else name
                for name, ours in zip(theirs, known, strict=True)
            ]  # fmt: skip
        return self._namer.names(theirs)

    def _epoch_axis(self, row: LogRow) -> float | None:
        if row.epoch is None or not row.in_epoch or not row.steps_an_epoch or row.step is None:
            return row.epoch
        return row.epoch - (self._first_epoch or 0) + row.step / row.steps_an_epoch

    def _step_of(self, row: LogRow, placed: Row) -> int | None:
        if row.epoch is not None and self._first_epoch is None:
            self._first_epoch = min(float(int(row.epoch)), 1.0)
        if row.step is not None:
            return self._stepped_row(row, placed)
        if row.epoch is None and not row.counted:
            return self._current
        if self._stepped:
            return self._current
        if row.epoch is not None and not self._counted and not row.counted:
            if row.epoch == int(row.epoch):
                self._epoch = row.epoch
                return int(row.epoch)
            self._counted = self._last is None
        if is_validation(row):
            return self._current or 0
        return (self._last or 0) + 1

    def _stepped_row(self, row: LogRow, placed: Row) -> int:
        raw = row.step
        assert raw is not None
        self._stepped = True
        self._rows += 1
        self._seen.update(placed.keys())
        if row.in_epoch and row.steps_an_epoch and row.epoch is not None:
            raw += int(row.epoch - (self._first_epoch or 0)) * row.steps_an_epoch
        resumes, self._resumes = self._resumes, False
        if self._raw is None:
            self._raw = self._first = raw
        elif resumes and raw <= self._raw:
            self._resume(raw)
        elif raw > self._raw:
            self._stride = raw - self._raw
            self._raw = raw
        else:
            placed_at = self._not_above(row, raw, placed)
            if placed_at is not None:
                return placed_at
        if row.epoch is not None:
            self._epoch = row.epoch
        own = self._own_last
        for name in placed:
            own[name] = raw
        return raw + self._offset

    def _not_above(self, row: LogRow, raw: int, placed: Row) -> int | None:
        """The place of a row whose step is not above the last; None where that is its own step."""
        assert self._raw is not None
        back = [name for name in placed if self._own_last.get(name, raw - 1) >= raw]
        if self._epoch is not None and row.epoch is not None:
            epochs = int(row.epoch) - int(self._epoch)
        else:
            epochs = 0
        if back and epochs > 0:
            self._begin_again(raw, row.steps_an_epoch, epochs)
            return None
        further = [name for name in back if self._own_last[name] > raw]
        if further and self._is_usual(placed):
            if row.time is not None and row.time > self._time > 0 and raw > self._first:
                self._resume(raw)
                return None
            if raw <= self._first:
                self._begin_again(raw, None, 1)
                return None
        return None

    def _is_without_step(self, row: LogRow) -> bool:
        """Whether it is a validation of this epoch at step 0, as old versions of Lightning have."""
        return (
            row.step == 0
            and bool(self._raw)
            and row.epoch is not None
            and row.epoch == self._epoch
            and is_validation(row)
        )

    def _is_of_epoch(self, row: LogRow, names: list[str]) -> bool:
        """Whether the step of a row is the epoch that has ended, as of MMEngine's validations."""
        return (
            row.step is not None
            and row.epoch is None
            and self._raw is not None
            and row.step < self._raw
            and row.step == self._epoch
            and not self._is_usual(names)
        )

    def _is_usual(self, names: Collection[str]) -> bool:
        """Whether these are the metrics of a row of the training."""
        usual = [name for name, count in self._seen.items() if count * 2 >= self._rows]
        return sum(name in names for name in usual) * 2 >= len(usual) > 0

    def _begin_again(self, raw: int, steps_an_epoch: int | None, epochs: int) -> None:
        assert self._raw is not None
        length = self._raw + self._stride if self._first == 0 or raw == 0 else self._raw
        self._offset += max(steps_an_epoch or 0, length - min(raw, 0)) * epochs
        self._raw, self._first = raw, min(self._first, raw)
        self._own_last.clear()
        self.restarts += 1

    def _resume(self, raw: int) -> None:
        self._flush()
        step = raw + self._offset
        before = len(self._store)
        self._store.truncate_from(step)
        self.superseded += before - len(self._store)
        self._raw, self._last = raw, self._store.last_step
        self._own_last.clear()

    def _flush(self) -> None:
        """Add what is pending to the store, in the order of its steps."""
        merged: dict[int, Row] = {}
        for step, placed, late in self._pending:
            self._merge(merged.setdefault(step, {"step": step}), placed, late)
        self._pending.clear()
        if not merged:
            return
        first, last = min(merged), self._store.last_step
        if last is not None and first <= last:
            for row in rows_from(self._store, first):
                added = merged.get(row["step"])
                merged[row["step"]] = row
                if added is not None:
                    self._merge(row, added, True)
            self._store.truncate_from(first)
        add_rows(self._store, [merged[step] for step in sorted(merged)])

    def _merge(self, row: Row, added: Row, late: bool) -> None:
        for name, value in added.items():
            if name in _AXES:
                if not late:
                    row[name] = value
                continue
            before = row.get(name)
            self.replaced += before is not None and not math.isnan(value) and before != value
            row[name] = value


def is_validation(row: LogRow) -> bool:
    """Whether all values of a row are of validation."""
    return bool(row.split) or not any(own_kind(name) for name in row.values)


if __name__ == "__main__":
    store = SeriesStore()
    placer = RowPlacer(store, MetricNamer())
    rows = [
        LogRow({"loss": 3.0 - epoch - at / 100}, step=at, epoch=epoch)
        for epoch in (1, 2)
        for at in (0, 10, 20)
    ]
    assert placer.add([*rows, LogRow({"eval_loss": 2.0}, step=10)]) == 0
    print(store.steps, store.names(), "began again:", placer.restarts)
    assert store.steps.tolist() == [0, 10, 20, 30, 40, 50] and placer.restarts == 1
    print("=== 自测通过 ===")
