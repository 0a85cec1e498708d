"""Rows of metrics.jsonl into a store, many at once, and out of it again.

`add_rows` leaves a store as `SeriesStore.append` would row by row, but faster: it turns rows
(dicts) into columns (arrays) and adds these in blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, compress
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np

from lmm_tui.metrics.series.growing_array import Floats, Ints
from lmm_tui.metrics.series.row_index import AXES, Axis
from lmm_tui.metrics.series.row_values import INDEX_KEYS, MAX_STEP, number, whole_step
from lmm_tui.metrics.series.series import SeriesStore

Row: TypeAlias = dict[str, Any]

LATE = "late"
"""A key of rows that were measured later than their step: they join it, and supersede nothing."""

_NUMBERS = {int, float}

_MANY_SHAPES = 64


def add_rows(store: SeriesStore, rows: list[Row]) -> int:
    """Add rows in order; returns how many were skipped because they have no usable step."""
    given = [row.get("step") for row in rows]
    # Nearly all files have whole steps only, which one numpy call converts.
    steps = _all_numbers(given) if set(map(type, given)) <= {int} else None
    if steps is None or (np.abs(steps) > MAX_STEP).any():
        usable = [(step, row) for row in rows if (step := whole_step(row.get("step"))) is not None]
        rows_left = [row for _, row in usable]
        steps = np.array([step for step, _ in usable], float)
    else:
        rows_left = rows
    _add_blocks(store, steps.astype(np.int64), rows_left)
    return len(rows) - len(rows_left)


def rows_from(store: SeriesStore, first: int) -> list[Row]:
    """The rows from step `first` on as `add_rows` takes them, positions on all axes included."""
    begin = int(store.steps.searchsorted(first))
    rows: list[Row] = [{} for _ in range(len(store) - begin)]
    for axis in AXES:
        known = np.flatnonzero(store.known(axis)[begin:]).tolist()
        positions = store.axis(axis)[begin:].tolist()
        for place in known:
            rows[place][axis] = positions[place]
    at = {row["step"]: row for row in rows}
    for name in store.names():
        series = store.get(name)
        if series is not None:
            steps, _, values = series.between(first, MAX_STEP)
            for step, value in zip(steps.tolist(), values.tolist(), strict=True):
                at[step][name] = value
    return rows


def rows_of(
    store: SeriesStore,
    first: int = -MAX_STEP,
    last: int = MAX_STEP,
    only: Iterable[str] | None = None,
) -> list[tuple[int, dict[str, float]]]:
    """Step and values of each row of a store that has any.

    Of the steps from `first` to `last`, both included, and of the metrics `only`, or of all.
    """
    rows: dict[int, dict[str, float]] = {}
    for name in store.names() if only is None else only:
        series = store.get(name)
        if series is None:
            continue
        at, _, values = (column.tolist() for column in series.between(first, last))
        for step, value in zip(at, values, strict=True):
            rows.setdefault(step, {})[name] = value
    return sorted(rows.items())


def positions_of(store: SeriesStore, steps: Sequence[int]) -> dict[Axis, list[float | None]]:
    """Where rows lie on each axis but the steps that any row of the store is known on; None where
    that is not known."""
    at = store.steps.searchsorted(np.array(steps, np.int64))
    found: dict[Axis, list[float | None]] = {}
    for axis in AXES[1:]:
        known = store.known(axis)
        if known.any():
            given, positions = known[at].tolist(), store.axis(axis)[at].tolist()
            found[axis] = [
                one if is_given else None for one, is_given in zip(positions, given, strict=True)
            ]
    return found


def numbers_among(values: Sequence[Any]) -> tuple[Ints | None, Floats]:
    """The positions of the values that are numbers (None if all are), and those numbers."""
    plain = _all_numbers(values)
    if plain is not None:
        return None, plain
    numbers = list(map(number, values))
    positions = np.array([at for at, value in enumerate(numbers) if value is not None], np.int64)
    return positions, np.array([value for value in numbers if value is not None], float)


def _add_blocks(store: SeriesStore, steps: Ints, rows: list[Row]) -> None:
    # `extend` takes strictly increasing steps only. A block ends where they do not increase, as
    # where a run was resumed; there `append` drops the history that the next row supersedes.
    ends = [*(np.flatnonzero(np.diff(steps) <= 0) + 1).tolist(), len(rows)]
    start = 0
    for end in ends:
        while start < end and store.last_step is not None and steps[start] <= store.last_step:
            if rows[start].get(LATE) is True:
                _join_late(store, int(steps[start]), rows[start])
            else:
                store.append(rows[start])
            start += 1
        if start < end:
            part = rows[start:end]
            axes = [_axis(key, part) for key in ("time", "tokens", "epoch")]
            store.extend(steps[start:end], _block(store, part), *axes)
        start = end


def _join_late(store: SeriesStore, step: int, row: Row) -> None:
    """Add what was measured later than the step it belongs to, and keep what follows."""
    later = rows_from(store, step)
    if not later or later[0]["step"] != step:
        later.insert(0, {"step": step})
    later[0].update((name, value) for name, value in row.items() if name not in INDEX_KEYS)
    del later[0][LATE]
    store.truncate_from(step)
    add_rows(store, later)


def _block(store: SeriesStore, rows: list[Row]) -> dict[str, tuple[Ints | None, Floats]]:
    """The values of each metric in the rows."""
    # Rows have few different sets of keys: each set is looked at once, not each row.
    keys = list(map(tuple, rows))
    shapes = dict.fromkeys(keys)
    if len(shapes) > _MANY_SHAPES:
        return _sparse_block(store, rows)
    block = {}
    for name in dict.fromkeys(chain.from_iterable(shapes)):
        if name in INDEX_KEYS or not store.takes(name):
            continue
        if all(name in shape for shape in shapes):
            at, having = None, rows
        else:
            having_it = {shape: name in shape for shape in shapes}
            mask = [having_it[key] for key in keys]
            at, having = np.flatnonzero(mask), list(compress(rows, mask))
        positions, measured = numbers_among(list(map(itemgetter(name), having)))
        if positions is not None:
            at = positions if at is None else at[positions]
        block[name] = at, measured
    return block


def _sparse_block(store: SeriesStore, rows: list[Row]) -> dict[str, tuple[Ints | None, Floats]]:
    """As `_block`, in time that grows with the values alone."""
    found: dict[str, tuple[list[int], list[Any]]] = {}
    for at, row in enumerate(rows):
        for name, value in row.items():
            if name not in INDEX_KEYS and store.takes(name):
                places, values = found.setdefault(name, ([], []))
                places.append(at)
                values.append(value)
    block: dict[str, tuple[Ints | None, Floats]] = {}
    for name, (places, values) in found.items():
        positions, measured = numbers_among(values)
        at_rows = np.array(places, np.int64)
        block[name] = at_rows if positions is None else at_rows[positions], measured
    return block


def _axis(key: str, rows: list[Row]) -> Floats:
    """An index key of all rows; NaN where it is missing or not a number."""
    given = [row.get(key) for row in rows]
    known = _all_numbers(given)
    return np.array(list(map(number, given)), float) if known is None else known


def _all_numbers(values: Sequence[Any]) -> Floats | None:
    """`values` as an array, or None where any of them is not an int or a float."""
    if not set(map(type, values)) <= _NUMBERS:
        return None
    try:
        return np.array(values, float)
    except OverflowError:
        return None


if __name__ == "__main__":
    store = SeriesStore()
    left_out = add_rows(store, [{"step": 500, "loss": "NaN", "note": "resumed"}, {"loss": 3.0}])
    print(store.names(), store.last_step, "left out:", left_out)
    print("=== 自测通过 ===")
