"""Rows of files of any format: JSON, CSV, parquet and arrow give the same rows.

A row is filtered, its named columns take their usual names, and the caller parses it. What cannot
be read or parsed is skipped and recorded; a file as a whole that cannot be read is a DataError.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from lmm_tui.data.errors import DataError
from lmm_tui.data.text.compressed import DamagedStreamError
from lmm_tui.data.text.containers import CSV, TABLES, TSV, format_of
from lmm_tui.data.text.csv_rows import CsvRows
from lmm_tui.data.text.json_rows import (
    BadLine,
    JsonError,
    Parse,
    Skipped,
    json_array,
    json_lines,
    starts_array,
    starts_object_of_lines,
)
from lmm_tui.data.text.open_files import opened
from lmm_tui.data.text.row_fields import UNSUPPORTED_FIELDS, shape_of
from lmm_tui.data.text.source import Source, refuse_two
from lmm_tui.data.text.tables import open_table
from lmm_tui.message import Message

T = TypeVar("T")

_EMPTY: tuple[Any, ...] = (None, "", [])
_LEFT_OUT: Any = object()


class RowReader(Generic[T]):
    """Reads the files of one source, one after another."""

    def __init__(
        self,
        source: Source,
        parse: Parse[T],
        skipped: Skipped,
        *,
        fields: Iterable[str],
        role: str = "",
        either: tuple[str, ...] = (),
        exact: bool = False,
    ) -> None:
        """`fields` have an effect; a row has at most one of `either`, which holds `role`."""
        self._source, self._parse, self._skipped, self._exact = source, parse, skipped, exact
        self._fields = frozenset(fields)
        roles = {name for name, _ in source.columns}
        self._role = role
        self._either = () if roles.intersection((role, *either)) else either
        self._first: tuple[Path, dict[str, str]] | None = None
        self._path = Path()
        self._left_out = ""

    def read(self, path: Path, index: int) -> Iterator[T]:
        """What is made of the rows of a file, in their order."""
        self._path = path
        if format_of(path) in TABLES:
            found = self._table(path, index)
        elif format_of(path) in (CSV, TSV):
            found = self._csv(path, index)
        else:
            found = self._json(path, index)
        return (made for made in found if made is not _LEFT_OUT)

    def check_filter(self) -> None:
        """DataError where a filter has left out all rows that were read."""
        chosen, skipped = self._source.filter, self._skipped
        if chosen is None or skipped.filtered < skipped.lines:
            return
        lacking = [name for name, count in skipped.lacking.items() if count == skipped.lines]
        if lacking:
            raise DataError(
                'data.source: {source!r}: no row has the column "{column}", which the filter '
                "{text!r} names; in the first row: {shape_of}",
                source=str(self._source),
                column=lacking[0],
                text=chosen.text,
                shape_of=self._left_out,
            )
        raise DataError(
            "data.source: {source!r}: no row passes the filter {text!r}",
            source=str(self._source),
            text=chosen.text,
        )

    def _made(self, row: dict[str, Any]) -> T:
        if self._source.filter and not self._source.filter.keeps(row):
            self._skipped.filtered += 1
            for column in self._source.filter.columns:
                if row.get(column) is None:
                    self._skipped.lacking[column] = self._skipped.lacking.get(column, 0) + 1
            self._left_out = self._left_out or shape_of(row)
            return _LEFT_OUT
        row = self._source.renamed(row)
        if self._either:
            kind = str if self._role == "text" else object
            found = ((name, row.get(name)) for name in self._either)
            self._refuse_two(
                [name for name, value in found if value not in _EMPTY and isinstance(value, kind)]
            )
        return self._parse(row)

    def _refuse_two(self, fitting: list[str]) -> None:
        if len(fitting) > 1:
            raise refuse_two(self._path, fitting, self._role)

    def _json(self, path: Path, index: int) -> Iterator[T]:
        with opened(path) as file:
            try:
                if starts_object_of_lines(file):
                    raise DataError(
                        "{path}: is one JSON object over several lines; write an array of rows, or "
                        "a row a line",
                        path=path,
                    )
                if starts_array(file):
                    yield from json_array(file, index, self._made, self._skipped, exact=self._exact)
                else:
                    yield from json_lines(file, index, self._made, self._skipped, exact=self._exact)
            except JsonError as error:
                raise DataError(
                    "{path}:{line}: {error}; mend the file", path=path, line=error.line, error=error
                ) from None
            except DamagedStreamError as error:  # Of an array that is parsed at once.
                raise error.at(1) from None

    def _csv(self, path: Path, index: int) -> Iterator[T]:
        with opened(path) as file:
            line = 1
            try:
                rows = CsvRows(file, path, "\t" if format_of(path) == TSV else ",")
                wanted = self._check(path, dict.fromkeys(rows.columns, "text"))
                for line, row in rows:
                    yield from self._one(_only(row, wanted), index, line)
            except DamagedStreamError as error:
                raise error.at(line + 1) from None

    def _table(self, path: Path, index: int) -> Iterator[T]:
        with open_table(path) as table:
            wanted = self._check(path, table.columns)
            for number, row in enumerate(table.rows(wanted), start=1):
                # A row without any value says so of each column.
                yield from self._one(row or dict.fromkeys(wanted), index, number)

    def _one(self, row: dict[str, Any] | str, index: int, number: int) -> Iterator[T]:
        self._skipped.lines += 1
        try:
            if isinstance(row, str):
                raise ValueError(row)  # A message already.
            made = self._made(row)
        except ValueError as error:
            self._skipped.add(BadLine(index, number, str(error)))
            return
        yield made

    def _check(self, path: Path, columns: dict[str, str]) -> list[str]:
        """The columns to read. Raises DataError where they are not there, or were others before."""
        listed = ", ".join(columns)
        for name in sorted(self._source.read_columns - columns.keys()):
            raise DataError(
                '{path}: has no column "{name}"; its columns are {listed}',
                path=path,
                name=name,
                listed=listed,
            )
        named = self._source.read_columns
        read = {
            name: kind
            for name, kind in columns.items()
            if name in self._fields or name in named or name in UNSUPPORTED_FIELDS
        }
        if not read.keys() - UNSUPPORTED_FIELDS:
            raise DataError(
                "{path}: no column is known by its name; its columns are "
                "{listed}: name one, such as --set data.columns.{role}=NAME",
                path=path,
                listed=listed,
                role=self._role or "messages",
            )
        self._refuse_two([name for name in self._either if name in columns])
        before, first = self._first or (path, read)
        self._first = (before, first)
        for name in {**first, **read}:
            one, other = first.get(name), read.get(name)
            same = one == other or "null" in (one, other)
            if format_of(before) == format_of(path) and not same:
                raise DataError(
                    '{path}: its column "{name}" is {told}, and in {before} '
                    "{told2}; give files of one schema",
                    path=path,
                    name=name,
                    told=_told(other),
                    before=before,
                    told2=_told(one),
                )
        unused = dict.fromkeys(name for name in columns if name not in read)
        self._skipped.unused.update(unused)
        return list(read)


def _only(row: dict[str, Any] | str, wanted: list[str]) -> dict[str, Any] | str:
    return row if isinstance(row, str) else {name: row[name] for name in wanted if name in row}


def _told(kind: str | None) -> str:
    return Message("missing") if kind is None else Message("of the kind {kind}", kind=kind)


class TextColumn:
    """Which column holds the text: the named one, or the only one with a usual name.

    It is chosen once for a source, at its first row.
    """

    USUAL = ("text", "content", "raw_content", "document", "body", "article", "story", "code")

    def __init__(self, named: str | None, found: Callable[[str], None]) -> None:
        """`found` is told the name."""
        self._name, self._found = named, found
        self._told = False

    def of(self, row: dict[str, Any]) -> str:
        """The name. Raises ValueError where a row has none."""
        if self._name is None:
            self._name = next((it for it in self.USUAL if isinstance(row.get(it), str)), None)
            if self._name is None:
                raise ValueError(_no_text(row))
        if not self._told:
            self._found(self._name)
            self._told = True
        return self._name


def _no_text(row: dict[str, Any]) -> str:
    if "text" in row:
        return Message('"text" is not a string')
    return Message(
        'no "text"; {shape_of}; name the column, such as --set data.columns.text=NAME',
        shape_of=shape_of(row),
    )


if __name__ == "__main__":

    def text(row: dict[str, Any]) -> str:
        return str(row["text"])

    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "a.csv").write_text("text,lang\none,en\ndeux,fr\n", encoding="utf-8")
        Path(scratch, "b.jsonl").write_text('{"text": "two", "lang": "en"}\n', encoding="utf-8")
        report = Skipped()
        reader = RowReader(Source.parse(scratch), text, report, fields=("text",))
        both = [*reader.read(Path(scratch, "a.csv"), 0), *reader.read(Path(scratch, "b.jsonl"), 1)]
        print(both, report.lines, report.unused)
        assert both == ["one", "deux", "two"]
    print("=== 自测通过 ===")
