"""Many lines of console output at once: the values of each metric as a column.

Lines of the same shape are equally long and have their numbers at the same places, so a column is
cut out of all of them together. A decimal is its digits as one whole number, divided by a power of
ten, which rounds as `float` does. What is not so plain is left to `ConsoleLog`, line by line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmm_tui.metrics.readers.console_pairs import KeyValue
from lmm_tui.metrics.readers.console_plan import TEXT, LinePlan
from lmm_tui.metrics.readers.log_row import Columns
from lmm_tui.metrics.series.growing_array import Floats, Ints

_MOST_DIGITS = 15
"""So many are exact in a float, and so are the powers of ten up to the 22nd."""
_POWERS = 10.0 ** np.arange(23)


def columns_of(
    shapes: dict[bytes, list[int]], lines: list[bytes], plan_of: Callable[[bytes], LinePlan]
) -> Columns | None:
    """The rows on some lines, given by shape; None where they are not all plain."""
    parts = []
    for shape, at in shapes.items():
        plan = plan_of(lines[at[0]])
        if plan is TEXT:
            continue
        if plan.columns or not is_plain(plan):
            return None
        part = _part(shape, plan, np.array(at), [lines[index] for index in at])
        if part is None:
            return None
        parts.append(part)
    if not parts or len({part.epochs is None for part in parts}) > 1:
        return None
    return _joined(parts)


def is_plain(plan: LinePlan) -> bool:
    """Whether a line says all about its row."""
    at = plan.at
    return (
        at.step is not None
        and at.bar is None
        and not (at.split or at.in_epoch or plan.counted)
        and bool(plan.pairs)
    )


@dataclass
class _Part:
    """The lines of one shape."""

    lines: Ints
    steps: Floats
    epochs: Floats | None
    values: dict[str, Floats]


def _part(shape: bytes, plan: LinePlan, at: Ints, lines: list[bytes]) -> _Part | None:
    digits = np.frombuffer(b"".join(lines), np.uint8).reshape(len(lines), len(shape))
    assert plan.at.step is not None
    steps = _numbers(shape, digits, KeyValue("", *plan.at.step, 1.0))
    epochs = None
    if plan.at.epoch is not None:
        epochs = _numbers(shape, digits, KeyValue("", *plan.at.epoch, 1.0))
    values = {pair.name: _numbers(shape, digits, pair) for pair in plan.pairs}
    if steps is None or (epochs is None and plan.at.epoch is not None):
        return None
    known = {name: column for name, column in values.items() if column is not None}
    return _Part(at, steps, epochs, known) if len(known) == len(values) else None


def _numbers(shape: bytes, lines: NDArray[np.uint8], pair: KeyValue) -> Floats | None:
    """The numbers at a place of all lines; None where they are more than digits can tell."""
    text = shape[pair.start : pair.end].replace(b",", b"").lower()
    mantissa, _, exponent = text.partition(b"e")
    places = [at for at in range(pair.start, pair.end) if shape[at] == ord("0")]
    if not places:
        return None
    in_exponent = exponent.count(b"0")
    whole = _whole(lines, places[: len(places) - in_exponent])
    if whole is None or in_exponent > 2:
        return None
    power = np.full(len(lines), -len(mantissa.partition(b".")[2]))
    if in_exponent:
        given = _whole(lines, places[-in_exponent:])
        assert given is not None
        power = power + (-given if exponent.startswith(b"-") else given).astype(np.int64)
    if (np.abs(power) >= len(_POWERS)).any():
        return None
    size = _POWERS[np.abs(power)]
    numbers = np.where(power < 0, whole / size, whole * size)
    if mantissa.startswith(b"-"):
        numbers = -numbers
    return numbers if pair.factor == 1.0 else numbers * pair.factor


def _whole(lines: NDArray[np.uint8], places: list[int]) -> Floats | None:
    """The whole number of the digits at some places."""
    if not 0 < len(places) <= _MOST_DIGITS:
        return None
    total = np.zeros(len(lines))
    for place in places:
        total = total * 10 + (lines[:, place] - np.uint8(48))
    return total


def _joined(parts: list[_Part]) -> Columns | None:
    """The rows of all shapes in the order of the lines; those of one step are one."""
    order = np.argsort(np.concatenate([part.lines for part in parts]), kind="stable")
    steps = np.concatenate([part.steps for part in parts])[order]
    change = np.diff(steps)
    if (change < 0).any():
        return None
    first = np.append(True, change > 0)
    row_in_order = np.cumsum(first) - 1
    rows = np.empty(len(order), np.int64)
    rows[order] = row_in_order
    epochs = np.full(int(first.sum()), np.nan)
    found: dict[str, list[tuple[Ints, Floats]]] = {}
    begin = 0
    for part in parts:
        own = rows[begin : begin + len(part.lines)]
        begin += len(part.lines)
        if part.epochs is not None:
            epochs[own] = part.epochs
        for name, values in part.values.items():
            found.setdefault(name, []).append((own, values))
    columns = Columns(steps[first].astype(np.int64), epochs)
    for name, pieces in found.items():
        at = np.concatenate([own for own, _ in pieces])
        values = np.concatenate([values for _, values in pieces])
        sorting = np.argsort(at, kind="stable")
        at, values = at[sorting], values[sorting]
        if (np.diff(at) == 0).any():
            return None  # Two values of one step: what becomes of them is counted.
        columns.values[name] = at, values
    return columns


if __name__ == "__main__":
    from lmm_tui.metrics.readers.console_plan import plan_of as plan

    demo = [b"step 1: loss 2.50, lr 5.00e-04", b"step 2: loss 2.25, lr 4.00e-05"]
    groups = {b"step 0: loss 0.00, lr 0.00e-00": [0, 1]}
    columns = columns_of(groups, demo, lambda line: plan(line.decode()))
    print(columns)
    assert columns is not None and columns.values["lr"][1].tolist() == [5e-4, 4e-5]
    print("=== 自测通过 ===")
