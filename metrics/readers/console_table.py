"""Tables that programs print with blanks between the columns: fastai's, Ultralytics'.

A header names an epoch or a step and other columns; the lines of as many cells below are its rows.
"""

from __future__ import annotations

import re

from lmm_tui.metrics.readers.log_row import LogRow
from lmm_tui.metrics.readers.metric_names import EPOCHS, STEPS, normal
from lmm_tui.metrics.readers.text_numbers import number_in

_NAME = re.compile(r"[A-Za-z_][\w./@()\-]*")
_FEWEST, _MOST = 3, 40
_NO_METRICS = ("time", "size", "eta")
"""Columns of clocks and of what never changes."""


def header_of(text: str) -> tuple[str, ...]:
    """The names of the columns in a header; empty where a line is none."""
    words = text.split()
    if not _FEWEST <= len(words) <= _MOST or not all(map(_NAME.fullmatch, words)):
        return ()
    first = normal(words[0])
    known = first in EPOCHS or first in STEPS
    return tuple(words) if known and len(set(words)) == len(words) else ()


def row_of(text: str, columns: tuple[str, ...]) -> LogRow | None:
    """The row on a line below a header; None where a line is none."""
    cells = text.split()
    if len(cells) < len(columns) or not cells[0][0].isdigit():
        return None
    place = number_in(cells[0].partition("/")[0])
    if place is None or not 0 <= place <= 1 << 53 or place != int(place):
        return None
    row = LogRow()
    if normal(columns[0]) in EPOCHS:
        row.epoch = place
    else:
        row.step = int(place)
    numbers = 0
    for name, cell in zip(columns[1:], cells[1:], strict=False):
        value = number_in(cell.rstrip(":"), name)
        numbers += value is not None
        if value is not None and normal(name) not in _NO_METRICS:
            row.values[name] = value
    return row if numbers * 2 >= len(columns) - 1 and row.values else None


if __name__ == "__main__":
    names = header_of("epoch     train_loss  valid_loss  accuracy  time    ")
    print(names, row_of("0         0.801       0.61        0.71      00:12", names))
    assert row_of("1 0.5 0.25 nan 00:12", names) is not None
    assert not header_of("epoch of the best loss: 3") and row_of("see 1 2 3 4", names) is None
    print("=== 自测通过 ===")
