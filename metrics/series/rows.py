"""Parsed rows of metrics.jsonl into a store, many at once, and out of it again.

The outcome is that of `SeriesStore.append` row by row; only the speed is not. It knows dicts
and arrays, no files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, compress
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np

from lmm_tui.metrics.series.growing_array import Floats, Ints
from lmm_tui.metrics.series.series import INDEX_KEYS, MAX_STEP, SeriesStore, number, whole_step

Row: TypeAlias = dict[str, Any]

_NUMBERS = {int, float}


def add_rows(store: SeriesStore, rows: list[Row]) -> int:
    """Add rows in order; returns how many were left out because they have no usable step."""
    given = [row.get("step") for row in rows]
    steps = _all_numbers(given) if set(map(type, given)) <= {int} else None
    if steps is None or (np.abs(steps) > MAX_STEP).any():
        usable = [(step, row) for row in rows if (step := whole_step(row.get("step"))) is not None]
        rows_left = [row for _, row in usable]
        steps = np.array([step for step, _ in usable], float)
    else:
        rows_left = rows
    _add_runs(store, steps.astype(np.int64), rows_left)
    return len(rows) - len(rows_left)


def rows_of(
    store: SeriesStore,
    first: int = -MAX_STEP,
    last: int = MAX_STEP,
    only: Iterable[str] | None = None,
) -> list[tuple[int, float, dict[str, float]]]:
    """Step, time (unix seconds, NaN where unknown) and values of what a store holds.

    Of the steps from `first` to `last`, both included, and of the metrics `only`, or of all.
    """
    rows: dict[int, dict[str, float]] = {}
    times: dict[int, float] = {}
    for name in store.names() if only is None else only:
        series = store.get(name)
        if series is None:
            continue
        at, when, values = (column.tolist() for column in series.between(first, last))
        times.update(zip(at, when, strict=True))
        for step, value in zip(at, values, strict=True):
            rows.setdefault(step, {})[name] = value
    return [(step, times[step], rows[step]) for step in sorted(rows)]


def numbers_among(values: Sequence[Any]) -> tuple[Ints | None, Floats]:
    """Where values are measured numbers, None for everywhere; and those numbers."""
    plain = _all_numbers(values)
    if plain is not None:
        return None, plain
    numbers = list(map(number, values))
    positions = np.array([at for at, value in enumerate(numbers) if value is not None], np.int64)
    return positions, np.array([value for value in numbers if value is not None], float)


def _add_runs(store: SeriesStore, steps: Ints, rows: list[Row]) -> None:
    # A run of rows ends where a step does not increase: there a resumed run starts over.
    ends = [*(np.flatnonzero(np.diff(steps) <= 0) + 1).tolist(), len(rows)]
    start = 0
    for end in ends:
        last = store.last_step
        if start < end and last is not None and steps[start] <= last:
            store.append(rows[start])
            start += 1
        if start < end:
            run = rows[start:end]
            block = _block(run)
            axes = [_axis(key, run) for key in ("time", "tokens", "epoch")]
            store.extend(steps[start:end], block, *axes)
        start = end


def _block(rows: list[Row]) -> dict[str, tuple[Ints | None, Floats]]:
    """What the rows measured, by metric."""
    keys = list(map(tuple, rows))
    shapes = dict.fromkeys(keys)
    block = {}
    for name in dict.fromkeys(chain.from_iterable(shapes)):
        if name in INDEX_KEYS:
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


def _axis(key: str, rows: list[Row]) -> Floats:
    """An index key of all rows; NaN where it is missing or no number."""
    given = [row.get(key) for row in rows]
    known = _all_numbers(given)
    return np.array(list(map(number, given)), float) if known is None else known


def _all_numbers(values: Sequence[Any]) -> Floats | None:
    """`values` as an array, or None where any of them is not plainly a number."""
    if not set(map(type, values)) <= _NUMBERS:
        return None
    try:
        return np.array(values, float)
    except OverflowError:
        return None


if __name__ == "__main__":
    store = SeriesStore()
    demo: list[Row] = [{"step": at, "loss": 1 / at} for at in range(1, 1000)]
    demo += [{"step": 500, "loss": "NaN", "note": "resumed"}, {"loss": 3.0}]
    left_out = add_rows(store, demo)
    print(store.names(), store.last_step, "left out:", left_out)
    assert (store.last_step, left_out) == (500, 1) and store.names() == ["loss"]
    print("=== 自测通过 ===")
