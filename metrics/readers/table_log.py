"""Rows of a table: CSV, TSV or `;`, with a header; Lightning, Keras, Ultralytics, fastai, Flair.

The header may come again with other columns. Empty cells are what was not measured. Where no
column is a step or an epoch, rows with a metric that is known are numbered.
"""

from __future__ import annotations

import csv

from lmm_tui.metrics.formula_cells import unquoted_formula
from lmm_tui.metrics.readers.json_log import RecordLines, RowKeys
from lmm_tui.metrics.readers.log_row import LogRow
from lmm_tui.metrics.readers.metric_names import common_names, normal
from lmm_tui.metrics.readers.text_numbers import number_in

DELIMITERS = ",\t;"


class TableLog:
    """A header, then a row a line."""

    def __init__(self, delimiter: str = ",") -> None:
        self._delimiter = delimiter
        self._header: list[str] = []
        self._records = RecordLines()
        self._numbered = False
        self._count = 0

    def columns(self, lines: list[bytes]) -> None:
        """Rows are read one by one."""

    def rows(self, lines: list[bytes]) -> tuple[list[LogRow], int]:
        rows, bad = [], 0
        for line in lines:
            if not line or line.isspace() or line.startswith(b"#"):
                continue
            cells = cells_of(line, self._delimiter)
            if not self._header or (cells and self._is_header(cells)):
                self._set_header(cells or [])
                continue
            row = None
            if cells is not None and len(cells) == len(self._header):
                row = self._row(cells)
            bad += row is None
            rows += [] if row is None else [row]
        return rows, bad

    def _row(self, cells: list[str]) -> LogRow | None:
        found: dict[str, object] = {
            name: cell for name, cell in zip(self._header, cells, strict=True) if cell and name
        }
        if self._numbered and found:
            self._count += 1
            found["step"] = self._count
        numbers = {name: _number_or_text(name, cell) for name, cell in found.items()}
        return self._records.row(numbers)

    def _is_header(self, cells: list[str]) -> bool:
        """Whether a line names columns again."""
        known = set(self._header)
        return sum(unquoted_formula(cell) in known for cell in cells) * 2 > len(cells) and all(
            number_in(cell) is None for cell in cells
        )

    def _set_header(self, cells: list[str]) -> None:
        self._header = cells = [unquoted_formula(cell) for cell in cells]
        keys = RowKeys.among(cells)
        self._numbered = (
            keys.step is None
            and keys.epoch is None
            and any(normal(name) in common_names() for name in cells)
        )


def _number_or_text(name: str, cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    value = number_in(cell, name)
    if value is None:
        return cell
    return int(value) if value == int_or_none(value) else value


def int_or_none(value: float) -> int | None:
    """The whole number that a value is."""
    return int(value) if abs(value) < 2**53 and value == int(value) else None


def cells_of(line: bytes, delimiter: str) -> list[str] | None:
    """The cells of a line without the blanks around them; None where quotes do not match."""
    try:
        cells = next(
            csv.reader([line.decode("utf-8", "replace")], delimiter=delimiter, strict=True), []
        )
    except csv.Error:
        return None
    return [cell.strip() for cell in cells]


def delimiter_of(header: bytes, following: list[bytes]) -> str | None:
    """What divides the cells, where a line is a header with as many cells as the lines below."""
    for delimiter in DELIMITERS:
        names = cells_of(header, delimiter)
        if not names or len(names) < 2 or any(number_in(name) is not None for name in names):
            continue
        if len(set(filter(None, names))) < len(list(filter(None, names))):
            continue
        rows = [cells_of(line, delimiter) for line in following]
        until = next((at for at, row in enumerate(rows) if row and _is_names(row)), len(rows))
        rows = rows[:until]  # From there on another header counts.
        good = [row for row in rows if row and len(row) == len(names)]
        if not rows:
            return delimiter if _has_place(names) else None
        if len(good) * 2 >= len(rows) and any(
            number_in(cell) is not None for row in good for cell in row
        ):
            return delimiter
    return None


def _is_names(cells: list[str]) -> bool:
    return len(cells) > 1 and all(cell and number_in(cell) is None for cell in cells)


def _has_place(names: list[str]) -> bool:
    keys = RowKeys.among(names)
    return keys.step is not None or keys.epoch is not None


if __name__ == "__main__":
    table = TableLog()
    found, broken = table.rows(
        [b" step, loss", b'"1,000",2.5', b"2000,", b"step,loss,acc", b"3,1,2"]
    )
    print(found, broken)
    assert [row.step for row in found] == [1000, 2000, 3] and not broken
    assert delimiter_of(b"EPOCH\tTRAIN_LOSS", [b"1\t2.5"]) == "\t"
    print("=== 自测通过 ===")
