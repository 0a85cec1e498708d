"""Many lines of console output at once: the values of each metric as a column.

Lines of the same shape are equally long and have their numbers at the same places, so a column is
cut out of all of them together. A decimal is its digits as one whole number, divided by a power of
ten, which rounds as `float` does. What is not so plain is left to `ConsoleLog`, line by line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lmm_tui.metrics.readers.console_pairs import KeyValue
from lmm_tui.metrics.readers.console_plan import TEXT, LinePlan
from lmm_tui.metrics.readers.log_row import Columns
from lmm_tui.metrics.readers.metric_names import is_loss, own_kind
from lmm_tui.metrics.series.growing_array import Floats, Ints

DIGITS = bytes.maketrans(b"123456789", b"000000000")
"""Makes the shape of a line of it."""

_MOST_DIGITS = 15
"""So many are exact in a float, and so are the powers of ten up to the 22nd."""
_POWERS = 10.0 ** np.arange(23)


@dataclass(frozen=True)
class ShapedLines:
    """Lines with one `\n` between them, by their shapes."""

    data: NDArray[np.uint8]
    starts: Ints
    shapes: list[bytes]
    shape_of: Ints
    """By line, the number of its shape."""

    @classmethod
    def of(cls, data: bytes, longest: int) -> ShapedLines | None:
        """None where the lines have too many shapes, or are not all plain and short."""
        if not data.isascii():
            return None
        masked = data.translate(DIGITS).split(b"\n")
        shapes = list(dict.fromkeys(masked))
        if len(shapes) * 8 > len(masked) or max(map(len, shapes)) > longest:
            return None
        numbers = {shape: number for number, shape in enumerate(shapes)}
        shape_of = np.fromiter(map(numbers.__getitem__, masked), np.int64, len(masked))
        ends = np.array(list(map(len, shapes)))[shape_of] + 1
        starts = np.append(0, ends.cumsum()[:-1])
        return cls(np.frombuffer(data, np.uint8), starts, shapes, shape_of)

    def __iter__(self) -> Iterator[tuple[bytes, Ints, NDArray[np.uint8]]]:
        """Each shape, which lines have it, and their bytes in rows."""
        order = np.argsort(self.shape_of, kind="stable")
        counts = np.bincount(self.shape_of, minlength=len(self.shapes))
        for shape, at in zip(self.shapes, np.split(order, counts.cumsum()[:-1]), strict=True):
            if shape:
                yield shape, at, sliding_window_view(self.data, len(shape))[self.starts[at]]


def columns_of(lines: ShapedLines, plan_of: Callable[[bytes], LinePlan]) -> Columns | None:
    """The rows on some lines; None where they must be read one by one."""
    parts = []
    for shape, at, rows in lines:
        plan = plan_of(rows[0].tobytes())
        if plan is TEXT:
            continue
        kind = _kind_of(plan)
        part = _part(shape, kind, plan, at, rows) if kind else None
        if part is None:
            return None
        parts += [part] if part.values else []
    if not parts or len({part.kind for part in parts}) > 1:
        return None
    if parts[0].kind == _COUNTED:
        _count(parts)
    elif len({part.epochs is None for part in parts}) > 1:
        return None
    return _joined(parts)


_PLAIN, _IN_EPOCH, _COUNTED = "plain", "in epoch", "counted"


def _kind_of(plan: LinePlan) -> str:
    """How the lines of a plan say where they belong; empty where not all by themselves."""
    at = plan.at
    if plan.columns or at.bar is not None or at.split:
        return ""
    if plan.counted:
        known = at.epoch is not None or any(is_loss(pair.name) for pair in plan.pairs)
        return _COUNTED if at.step is None and known else ""
    if at.step is None or not plan.pairs:
        return ""
    if not at.in_epoch:
        return _PLAIN
    return _IN_EPOCH if at.epoch is not None and at.steps_an_epoch is not None else ""


@dataclass
class _ShapePart:
    """The lines of one shape."""

    kind: str
    lines: Ints
    steps: Floats
    epochs: Floats | None
    steps_an_epoch: Floats | None
    values: dict[str, Floats]


def _part(
    shape: bytes, kind: str, plan: LinePlan, lines: Ints, rows: NDArray[np.uint8]
) -> _ShapePart | None:
    """None where a position is more than digits can tell."""
    at = plan.at
    steps = np.zeros(len(lines))
    epochs = whole = None
    if at.step is not None:
        steps = _numbers(shape, rows, KeyValue("", *at.step, 1.0))
    if at.epoch is not None:
        epochs = _numbers(shape, rows, KeyValue("", *at.epoch, 1.0))
    if kind == _IN_EPOCH:
        assert at.steps_an_epoch is not None
        whole = _numbers(shape, rows, KeyValue("", *at.steps_an_epoch, 1.0))
    if len(shape) > 1 and steps.max(initial=0) > 1 << 53:
        return None
    values = {pair.name: _numbers(shape, rows, pair) for pair in plan.pairs}
    return _ShapePart(kind, lines, steps, epochs, whole, values)


def _count(parts: list[_ShapePart]) -> None:
    """Number the rows of training; one of validation is at the row before."""
    lines = np.concatenate([part.lines for part in parts])
    trains = np.concatenate(
        [np.full(len(part.lines), any(map(own_kind, part.values))) for part in parts]
    )
    order = np.argsort(lines, kind="stable")
    steps = np.empty(len(lines))
    steps[order] = trains[order].cumsum()
    begin = 0
    for part in parts:
        part.steps = steps[begin : begin + len(part.lines)]
        begin += len(part.lines)
        if part.epochs is None:
            part.epochs = np.full(len(part.lines), np.nan)


def _numbers(shape: bytes, lines: NDArray[np.uint8], pair: KeyValue) -> Floats:
    """The numbers at a place of all lines."""
    text = shape[pair.start : pair.end].replace(b",", b"").lower()
    mantissa, _, exponent = text.partition(b"e")
    places = [at for at in range(pair.start, pair.end) if shape[at] == ord("0")]
    in_exponent = exponent.count(b"0")
    whole = _whole(lines, places[: len(places) - in_exponent])
    power = np.full(len(lines), -len(mantissa.partition(b".")[2]))
    if in_exponent and whole is not None:
        given = _whole(lines, places[-in_exponent:])
        assert given is not None
        power = power + (-given if exponent.startswith(b"-") else given).astype(np.int64)
    if whole is None or in_exponent > 2 or (np.abs(power) >= len(_POWERS)).any():
        numbers = _parsed(lines[:, pair.start : pair.end])
    else:
        size = _POWERS[np.abs(power)]
        numbers = np.where(power < 0, whole / size, whole * size)
        numbers = -numbers if mantissa.startswith(b"-") else numbers
    return numbers if pair.factor == 1.0 else numbers * pair.factor


def _parsed(cells: NDArray[np.uint8]) -> Floats:
    """Numbers of any form, one by one."""
    texts = np.ascontiguousarray(cells).view(f"S{cells.shape[1]}").ravel()
    return np.array([float(text.replace(b",", b"")) for text in texts.tolist()])


def _whole(lines: NDArray[np.uint8], places: list[int]) -> Floats | None:
    """The whole number of the digits at some places; None where a float cannot hold it."""
    if not 0 < len(places) <= _MOST_DIGITS:
        return None
    total = np.zeros(len(lines))
    for place in places:
        total = total * 10 + (lines[:, place] - np.uint8(48))
    return total


def _joined(parts: list[_ShapePart]) -> Columns | None:
    """The rows of all shapes in the order of the lines; those of one step are one."""
    order = np.argsort(np.concatenate([part.lines for part in parts]), kind="stable")
    steps = np.concatenate([part.steps for part in parts])[order]
    kind, length = parts[0].kind, 0
    if kind == _IN_EPOCH:
        lengths = np.unique(np.concatenate([_known(part.steps_an_epoch) for part in parts]))
        if len(lengths) != 1 or not lengths[0]:
            return None
        length = int(lengths[0])
        steps = steps + np.concatenate([_known(part.epochs) for part in parts])[order] * length
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
    columns = Columns(
        steps[first].astype(np.int64), epochs, steps_an_epoch=length, counted=kind == _COUNTED
    )
    for name, pieces in found.items():
        at = np.concatenate([own for own, _ in pieces])
        values = np.concatenate([values for _, values in pieces])
        sorting = np.argsort(at, kind="stable")
        at, values = at[sorting], values[sorting]
        if (np.diff(at) == 0).any():
            return None  # Two values of one step: what becomes of them is counted.
        columns.values[name] = at, values
    return columns


def _known(column: Floats | None) -> Floats:
    assert column is not None
    return column


if __name__ == "__main__":
    from lmm_tui.metrics.readers.console_plan import plan_of as plan

    text = b"step 1: loss 2.50, lr 5.00e-04\nstep 2: loss 2.25, lr 4.00e-05\n" * 9
    demo = ShapedLines.of(text[:62], 99) or ShapedLines.of(b"\n".join([text[:30]] * 9), 99)
    assert demo is not None
    found = columns_of(demo, lambda line: plan(line.decode()))
    print(demo.shapes, found)
    assert found is None  # Nine values of one step.
    print("=== 自测通过 ===")
