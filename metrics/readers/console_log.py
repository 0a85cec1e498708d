"""Rows of what training programs print, line by line.

A line with a step or an epoch and numbers is a row. A line with numbers alone belongs to the step
or epoch before it, where it is indented or its names are known; so a record may have several lines.
The dictionaries of Hugging Face's Trainer have no step: it is that of the progress bar, or counted.
"""

from __future__ import annotations

import re

import numpy as np

from lmm_tui.metrics.readers.console_columns import DIGITS, ShapedLines, columns_of
from lmm_tui.metrics.readers.console_pairs import KeyValue
from lmm_tui.metrics.readers.console_plan import AT_THE_END, TEXT, LinePlan, plan_of, whole
from lmm_tui.metrics.readers.console_table import row_of
from lmm_tui.metrics.readers.log_row import Columns, LogRow
from lmm_tui.metrics.readers.metric_names import is_loss
from lmm_tui.metrics.readers.text_numbers import read_number

LONGEST = 4096
"""Of a longer line only its beginning is read."""

_COLOURS = re.compile(rb"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_MOST_PLANS = 1 << 14
_SAMPLE = 1 << 14


class ConsoleLog:
    """Keeps the position that was printed last."""

    def __init__(self) -> None:
        self._plans: dict[bytes, LinePlan] = {}
        self._step: int | None = None
        self._epoch: float | None = None
        self._steps_an_epoch: int | None = None
        self._bar: tuple[int, int] | None = None
        self._split = ""
        self._columns: tuple[str, ...] = ()
        """Of the table whose rows may follow."""

    def rows(self, lines: list[bytes]) -> tuple[list[LogRow], int]:
        """A line that is no row is text, not broken."""
        found = []
        plans = self._plans
        for line in lines:
            plan = plans.get(line.translate(DIGITS))
            if plan is TEXT and not self._columns:
                continue
            row = self._row(line, plan)
            if row is not None and (row.values or row.is_summary):
                found.append(row)
        return found, 0

    def columns(self, lines: list[bytes]) -> Columns | None:
        """The rows on some lines as columns; None where they must be read one by one."""
        data = b"\n".join(lines)
        if b"\x1b" in data or b"\x08" in data:
            data = _without_colours(data)
        shaped = None if self._columns else ShapedLines.of(data, LONGEST)
        columns = None if shaped is None else columns_of(shaped, self._plan)
        if columns is None or (columns.counted and self._bar is not None):
            return None
        if not columns.counted and self._epoch is not None and np.isnan(columns.epochs).any():
            return None
        for line in reversed(lines):
            last = self._row(line, None)  # Remembers the position.
            if last is not None:
                columns.total_steps = last.total_steps
                return columns
        return None

    def _plan(self, line: bytes) -> LinePlan:
        shape = line.translate(DIGITS)
        plan = self._plans.get(shape)
        if plan is None:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            plan = self._plans[shape] = plan_of(line.decode("utf-8", "replace"))
        return plan

    def _row(self, line: bytes, plan: LinePlan | None) -> LogRow | None:
        if len(line) > LONGEST:
            line, plan = line[:LONGEST], None
        if b"\x1b" in line or b"\x08" in line:
            line, plan = _COLOURS.sub(b"", line.replace(b"\x08", b" ")), None
        plan = plan or self._plan(line)
        if plan is AT_THE_END:
            return LogRow(is_summary=True)
        text = line.decode("utf-8", "replace")
        if plan.columns:
            self._columns = plan.columns
            return None
        if self._columns and (row := row_of(text, self._columns)) is not None:
            self._epoch = row.epoch
            return row
        return None if plan is TEXT else self._read(text, plan)

    def _read(self, text: str, plan: LinePlan) -> LogRow | None:
        """The row of a line; what it says of the position is remembered."""
        at = plan.at
        if not at.found:
            return self._following(text, plan)
        step, epoch, steps_an_epoch = whole(text, at.step), None, whole(text, at.steps_an_epoch)
        if at.epoch is not None:
            epoch = read_number(text[slice(*at.epoch)])
        bar, total = whole(text, at.bar), whole(text, at.bar_total)
        if bar is not None and total is not None:
            self._remember_bar(bar, total, at.described_bar)
        if plan.counted:
            all_steps = steps_an_epoch
            if step is None and plan.bar_before and self._bar is not None:
                step, all_steps = self._bar
            values = _values(text, plan.pairs)
            return LogRow(values, step=step, total_steps=all_steps, epoch=epoch, counted=True)
        if epoch is not None:
            self._epoch = epoch
            if step is None and bar is None:
                self._step = None
        self._split = at.split
        if step is None and bar is not None and plan.pairs:
            step, steps_an_epoch = bar, total
        if step is not None and not at.split:
            self._step, self._steps_an_epoch = step, steps_an_epoch
        is_total = self._epoch is None and not at.split and not at.in_epoch
        return LogRow(
            _values(text, plan.pairs),
            step=step,
            total_steps=steps_an_epoch if is_total else None,
            epoch=self._epoch,
            split=at.split,
            steps_an_epoch=steps_an_epoch,
            in_epoch=at.in_epoch,
        )

    def _following(self, text: str, plan: LinePlan) -> LogRow | None:
        """A line with numbers alone."""
        if plan.counted and self._bar is not None:
            return LogRow(_values(text, plan.pairs), step=self._bar[0], counted=True)
        if plan.counted and any(is_loss(pair.name) for pair in plan.pairs):
            return LogRow(_values(text, plan.pairs), counted=True)
        if self._step is None and self._epoch is None:
            return None
        split = plan.at.split or self._split
        step = None if split else self._step
        return LogRow(
            _values(text, plan.follows),
            step=step,
            epoch=self._epoch,
            split=split,
            steps_an_epoch=self._steps_an_epoch if step is not None else None,
        )

    def _remember_bar(self, count: int, total: int, described: bool) -> None:
        """The bar of the training is the first one without a text before it."""
        if not described and (self._bar is None or self._bar[1] == total):
            self._bar = count, total


def _without_colours(data: bytes) -> bytes:
    """Many lines without escape codes, of which a program uses few.

    What stands on both sides of a backspace is not one number.
    """
    data = data.replace(b"\x08", b" ")
    for code in set(_COLOURS.findall(data, 0, _SAMPLE)):
        data = data.replace(code, b"")
    return _COLOURS.sub(b"", data) if b"\x1b" in data else data


def _values(text: str, pairs: tuple[KeyValue, ...]) -> dict[str, float]:
    values = {}
    for name, start, end, factor in pairs:
        value = read_number(text[start:end], factor)
        if value is not None:
            values[name] = value
    return values


if __name__ == "__main__":
    console = ConsoleLog()
    printed = [
        b"Epoch:[2/2](100/900), loss: 6.125, lr: 0.0005, epoch_time: 3.0min",
        b"iter 100: loss 4.2000, time 12.50ms, mfu 3.10%",
        b"\x1b[31mstep:  1  \x1b[32mloss:  8.15\x1b[39m",
        b" 20%|##| 20/100 [00:10<00:20, 2.0it/s]{'loss': '4.8', 'epoch': '0.2'}",
        b"[step=3/1000,epoch=0]",
        b"    optim/total_grad_norm=1.5",
    ]
    rows, _ = console.rows(printed)
    print(*rows, sep="\n")
    assert [row.step for row in rows] == [100, 100, 1, 20, 3]
    print("=== 自测通过 ===")
