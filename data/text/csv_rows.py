"""Rows of .csv and .tsv files: the first line names the columns, cells may have several lines."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from lmm_tui.data.errors import DataError
from lmm_tui.json_text import RepeatedKeyError, parse_json_row
from lmm_tui.message import Message

_LONGEST_CELL = 64 << 20
_JSON = frozenset(
    {"messages", "conversations", "prompt", "chosen", "rejected", "history", "tools"}
    | {"weight", "label"}
)
"""Columns whose cells are JSON where they parse as a list, an object, a number or a truth."""


class CsvRows:
    """The columns of an open file, and its rows with the line of each."""

    def __init__(self, file: BinaryIO, path: Path, delimiter: str) -> None:
        self._path = path
        csv.field_size_limit(_LONGEST_CELL)
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        self._reader = csv.reader(text, delimiter=delimiter, strict=True)
        header = self._next()
        if header is None:
            raise DataError("{path}: is empty; give a file with rows, or leave it out", path=path)
        self.columns = [name.strip() for name in header]
        if len(self.columns) == 1 and (found := _other_delimiter(header[0], delimiter)):
            raise DataError(
                "{path}:1: the columns are separated by {found!r}, not by {delimiter!r}; convert "
                "the file: a .csv file has commas, a .tsv file tabs",
                path=path,
                found=found,
                delimiter=delimiter,
            )
        if len(set(self.columns)) < len(self.columns):
            raise DataError("{path}:1: two columns have one name; rename one", path=path)

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any] | str]]:
        """The line on which each row starts, and the row; or what is wrong with it."""
        while True:
            line = self._reader.line_num + 1
            cells = self._next()
            if cells is None:
                return
            if not cells:
                continue
            expected = len(self.columns)
            if len(cells) != expected:
                yield (
                    line,
                    Message(
                        "{count} cells; expected {expected}, as in the first line",
                        count=len(cells),
                        expected=expected,
                    ),
                )
                continue
            row = zip(self.columns, cells, strict=True)
            try:
                yield line, {name: _value(name, cell) for name, cell in row if cell}
            except RepeatedKeyError as error:
                yield line, str(error)

    def _next(self) -> list[str] | None:
        start = self._reader.line_num + 1
        try:
            return next(self._reader, None)
        except UnicodeDecodeError:
            raise DataError(
                "{path}:{line_num}: not UTF-8 text; convert the file to UTF-8",
                path=self._path,
                line_num=self._reader.line_num + 1,
            ) from None
        except csv.Error as error:
            raise DataError(
                "{path}:{start}: the row that starts here is not CSV ({error}); mend the file",
                path=self._path,
                start=start,
                error=error,
            ) from None


def _other_delimiter(header: str, delimiter: str) -> str:
    """What seems to separate the columns of a first line that is not cut by the right one."""
    others = (one for one in ",;\t|" if one != delimiter)
    return next((one for one in others if len(header.split(one)) > 1), "")


def _value(name: str, cell: str) -> Any:
    if name in _JSON:
        try:
            found = parse_json_row(cell)
        except (json.JSONDecodeError, RecursionError):
            return cell
        if name in ("weight", "label") or isinstance(found, list | dict):
            return found
    return cell


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        demo = Path(scratch, "demo.csv")
        demo.write_text('text,id\n"one, two\nthree",1\nfour\n', encoding="utf-8")
        with demo.open("rb") as opened_demo:
            found_rows = list(CsvRows(opened_demo, demo, ","))
        print(found_rows)
        assert found_rows[0] == (2, {"text": "one, two\nthree", "id": "1"})
    print("=== 自测通过 ===")
