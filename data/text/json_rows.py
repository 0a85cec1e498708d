"""JSON rows, one at a time, from an open file: JSON lines, or one JSON array.

The caller's function parses a row. What cannot be read or parsed is skipped, counted and recorded
with its line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from io import BufferedReader, BytesIO
from typing import Any, TypeVar

import orjson

from lmm_tui.data.text.compressed import DamagedStreamError
from lmm_tui.message import Message

T = TypeVar("T")
Parse = Callable[[dict[str, Any]], T]
"""Makes of a JSON object what it stands for; its ValueError says what was expected instead."""

TOLERATED = 0.01
"""Share of rows that may be broken."""

LONGEST_ROW = 128 << 20
"""Bytes: a row is read as a whole."""
LONGEST_ARRAY = 2 << 30
"""Bytes of a file that is one array."""

BOM = b"\xef\xbb\xbf"

_SHOWN = 100
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},\n]|[^\s"\[\]{},]+')


@dataclass(frozen=True)
class BadLine:
    file: int
    """Index into the files that were read: a cached report stays right when they are moved."""
    line: int
    """From 1."""
    why: str


@dataclass
class Skipped:
    """What was left out of JSON files while they were read."""

    lines: int = 0
    """Rows read, good and bad; blank lines don't count."""
    count: int = 0
    first: list[BadLine] = field(default_factory=list)
    """The first 100 bad rows."""
    unused: dict[str, None] = field(default_factory=dict)
    """Names of fields without effect, in the order in which they were met."""
    columns: dict[str, None] = field(default_factory=dict)
    """Names of the columns from which text was read."""
    filtered: int = 0
    """Good rows that a filter left out; they count in `lines`, too."""

    def add(self, bad: BadLine) -> None:
        self.count += 1
        if len(self.first) < _SHOWN:
            self.first.append(bad)

    def include(self, other: Skipped, place: Callable[[int], int]) -> None:
        """Add what was left out elsewhere; `place` gives its files their numbers here."""
        self.lines += other.lines
        self.count += other.count
        self.unused.update(other.unused)
        self.columns.update(other.columns)
        self.filtered += other.filtered
        room = _SHOWN - len(self.first)
        self.first += [replace(bad, file=place(bad.file)) for bad in other.first[:room]]

    @property
    def too_many(self) -> bool:
        return self.count > TOLERATED * self.lines

    def refusal(self, first: str) -> str:
        """What to say when there are too many; `first` is the first of them, with its place."""
        return Message(
            "{first}; {count} of {lines} lines are broken, more than "
            "{tolerated:.0%}: mend them or take them out",
            first=first,
            count=self.count,
            lines=self.lines,
            tolerated=TOLERATED,
        )


class ExactFloat(float):
    """A number that keeps how it was written, such as 2.50."""

    def __new__(cls, text: str) -> ExactFloat:
        made = super().__new__(cls, text)
        made.text = text
        return made

    text: str

    def __str__(self) -> str:
        return self.text


def json_lines(
    file: BufferedReader, index: int, parse: Parse[T], skipped: Skipped, *, exact: bool = False
) -> Iterator[T]:
    """What `parse` makes of each line of a file; blank lines are skipped.

    With `exact`, whole numbers have any size and fractions are `ExactFloat`.
    """
    number = 0
    while raw := _line(file, number + 1):
        number += 1
        line = (raw.removeprefix(BOM) if number == 1 else raw).strip()
        if not line:
            continue
        skipped.lines += 1
        try:
            made = parse(_object(_loads(line, exact)))
        except ValueError as error:
            skipped.add(BadLine(index, number, str(error)))
            continue
        yield made


def _line(file: BufferedReader, number: int) -> bytes:
    """The next line, empty at the end; DataError where it is cut off, damaged or endless."""
    try:
        raw = file.readline(LONGEST_ROW + 1)
    except DamagedStreamError as error:
        raise error.at(number) from None
    if len(raw) > LONGEST_ROW:
        raise JsonError(
            Message("a row of more than {limit} MiB; split it", limit=LONGEST_ROW >> 20), number
        )
    return raw


def starts_array(file: BufferedReader) -> bool:
    """Whether a file holds one JSON array, rather than an object a line."""
    return file.peek(64).removeprefix(BOM).lstrip()[:1] == b"["


def starts_object_of_lines(file: BufferedReader) -> bool:
    """Whether the first line of a file is no more than an opening brace."""
    return file.peek(64).removeprefix(BOM).lstrip().split(b"\n")[0].strip() == b"{"


def json_array(
    file: BufferedReader, index: int, parse: Parse[T], skipped: Skipped, *, exact: bool = False
) -> Iterator[T]:
    """What `parse` makes of each element; the file is held in memory. `exact` as in `json_lines`.

    Raises ValueError, with the line, where the file as a whole is not JSON.
    """
    raw = file.read(LONGEST_ARRAY + 1).removeprefix(BOM)
    if len(raw) > LONGEST_ARRAY:
        raise JsonError(
            Message(
                "an array of more than {longest_array} GiB, which is read as a "
                "whole; write a row a line (.jsonl)",
                longest_array=LONGEST_ARRAY >> 30,
            ),
            1,
        )
    rows = _loads(raw, exact)
    lines: list[int] = []
    for number, row in enumerate(rows):
        skipped.lines += 1
        try:
            made = parse(_object(row))
        except ValueError as error:
            lines = lines or _element_lines(raw)
            skipped.add(BadLine(index, lines[number], str(error)))
            continue
        yield made


def _loads(raw: bytes, exact: bool = False) -> Any:
    try:
        found = orjson.loads(raw)
        return json.loads(raw, parse_float=ExactFloat) if exact else found
    except orjson.JSONDecodeError as error:
        try:
            raw.decode()
        except UnicodeDecodeError as undecodable:
            place = raw[: undecodable.start]
            byte = undecodable.start - place.rfind(b"\n") - 1
            what = Message("not UTF-8 (byte {byte} of the line)", byte=byte)
            raise JsonError(what, place.count(b"\n") + 1) from None
        what = Message(
            "not JSON ({msg}, column {colno})", msg=Message(error.msg), colno=error.colno
        )
        if b"\0" in raw:
            what = Message("not JSON (a NUL byte, as in UTF-16 or a binary file)")
        raise JsonError(what, error.lineno) from None


class JsonError(ValueError):
    """Text that is not JSON, and the line (from 1) where that shows."""

    def __init__(self, why: str, line: int) -> None:
        super().__init__(why)
        self.line = line


def _object(row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise ValueError(Message("not a JSON object"))
    return row


def _element_lines(raw: bytes) -> list[int]:
    """The line on which each element of a valid JSON array starts."""
    lines: list[int] = []
    depth, line, awaited = 0, 1, False
    for match in _TOKENS.finditer(raw):
        token = match[0]
        if token == b"\n":
            line += 1
            continue
        if awaited and depth == 1 and token != b"]":
            lines.append(line)
            awaited = False
        if token in b"[{":
            depth += 1
            awaited = awaited or depth == 1
        elif token in b"]}":
            depth -= 1
        elif token == b"," and depth == 1:
            awaited = True
    return lines


if __name__ == "__main__":

    def length(row: dict[str, Any]) -> int:
        if "text" not in row:
            raise ValueError('expected {"text"}')
        return len(row["text"])

    report = Skipped()
    listed = b'[\n {"text": "one"},\n\n {"txt": "[,"}, 3,\n {"text": "three"}]'
    both = [
        list(json_array(BufferedReader(BytesIO(listed)), 0, length, report)),
        list(json_lines(BufferedReader(BytesIO(b'{"text": "four"}\n{')), 1, length, report)),
    ]
    print(both, report.first)
    assert both == [[3, 5], [4]]
    assert [(bad.file, bad.line) for bad in report.first] == [(0, 4), (0, 4), (1, 2)]
    print("=== 自测通过 ===")
