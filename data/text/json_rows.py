"""JSON rows, one at a time, from an open file: JSON lines, or one JSON array.

The caller's function parses a row. What cannot be read or parsed is skipped, counted and recorded
with its line.
"""

from __future__ import annotations

import json
import re
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from io import BufferedReader, BytesIO
from typing import Any, TypeVar

import orjson

from lmm_tui.data.text.compressed import DamagedStreamError
from lmm_tui.json_text import RepeatedKeyError, may_repeat_keys, parse_json_row
from lmm_tui.message import Message

T = TypeVar("T")
Parse = Callable[[dict[str, Any]], T]
"""Makes of a JSON object what it stands for; its ValueError says what was expected instead."""

TOLERATED = 0.01
"""Share of rows that may be broken."""

LONGEST_ROW = 128 << 20
"""Bytes: a row is read as a whole."""
WHOLE_ARRAY = 32 << 20
"""Bytes of a file that is one array and is parsed at once; of a longer one element by element."""

BOM = b"\xef\xbb\xbf"

_SHOWN = 100
_MORE = 1 << 20
_SCANNER = json.JSONDecoder()
_OBJECT_OF_LINES = re.compile(rb"\s*\{[^\S\n]*\n\s*[\"}]")
_ARRAY = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[(?:\s*[{\]]|\s*\Z|[ \t\r]*\n)")
_SPACE = re.compile(r"[ \t\r\n]*")
_CONSTANT = re.compile(r"NaN|Infinity")
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
    lacking: dict[str, int] = field(default_factory=dict)
    """Of these, how many have nothing in a column that the filter names."""

    @property
    def lacking_notes(self) -> list[str]:
        """Sentences for people about rows that a filter could not judge."""
        return [
            Message(
                '{count} of {lines} rows have no "{column}", which the filter names; they are left '
                "out",
                count=count,
                lines=self.lines,
                column=column,
            )
            for column, count in self.lacking.items()
        ]

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
        for column, count in other.lacking.items():
            self.lacking[column] = self.lacking.get(column, 0) + count
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
    return _parsed(_lines(file), index, parse, skipped, exact)


def _parsed(
    rows: Iterable[tuple[int, bytes]], index: int, parse: Parse[T], skipped: Skipped, exact: bool
) -> Iterator[T]:
    """What `parse` makes of rows as they stand in a file, each with its line."""
    for number, raw in rows:
        skipped.lines += 1
        try:
            made = parse(_object(_loads(raw, exact, unique=True)))
        except ValueError as error:
            skipped.add(BadLine(index, number, str(error)))
            continue
        yield made


def _lines(file: BufferedReader) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, with their numbers."""
    number = 0
    while raw := _line(file, number + 1):
        number += 1
        if line := (raw.removeprefix(BOM) if number == 1 else raw).strip():
            yield number, line


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
    """Whether a file holds one JSON array of rows, rather than an object a line."""
    return bool(_ARRAY.match(file.peek(64)))


def starts_object_of_lines(file: BufferedReader) -> bool:
    """Whether the first line of a file is no more than an opening brace, and a key follows."""
    return bool(_OBJECT_OF_LINES.match(file.peek(64).removeprefix(BOM)))


def json_array(
    file: BufferedReader, index: int, parse: Parse[T], skipped: Skipped, *, exact: bool = False
) -> Iterator[T]:
    """What `parse` makes of each element. `exact` as in `json_lines`.

    Raises JsonError, with the line, where the file is not JSON: of a long one when it comes there.
    """
    raw = file.read(WHOLE_ARRAY).removeprefix(BOM)
    if rest := file.read(1):
        yield from _parsed(ArrayElements(file, raw + rest), index, parse, skipped, exact)
        return
    rows = _loads(raw, exact)
    if may_repeat_keys(raw, rows):
        yield from _parsed(ArrayElements(file, raw), index, parse, skipped, exact)
        return
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


class ArrayElements:
    """The elements of a long array as they stand in the file, each with the line of its start."""

    def __init__(self, file: BufferedReader, begun: bytes) -> None:
        """`begun` was read of the file before."""
        self._file, self._begun = file, begun
        self._decode = getincrementaldecoder("utf-8")()
        self._text, self._at, self._line = "", 0, 1
        self._ended = False

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        self._add(self._begun)
        self._begun = b""
        self._take("[")
        if self._next() == "]":
            self._take("]")
        else:
            while True:
                self._next()
                yield self._line, self._element()
                if self._next() != ",":
                    break
                self._take(",")
            self._take("]")
        if self._next():
            raise self._error("unexpected content after document")

    def _element(self) -> bytes:
        """The next one; what is cut off by the end of what was read is tried again with more."""
        wanted = _MORE
        while True:
            try:
                end = _SCANNER.raw_decode(self._text, self._at)[1]
            except (json.JSONDecodeError, RecursionError) as error:
                if self._ended:
                    raise self._error(getattr(error, "msg", "nested too deeply")) from None
            else:
                if end < len(self._text) or self._ended:
                    found = self._text[self._at : end]
                    self._step(end)
                    return found.encode()
            if len(self._text) - self._at > LONGEST_ROW:
                raise JsonError(
                    Message("a row of more than {limit} MiB; split it", limit=LONGEST_ROW >> 20),
                    self._line,
                )
            self._add(self._read(wanted))
            wanted *= 2

    def _next(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            assert match
            self._step(match.end())
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._add(self._read(_MORE))

    def _take(self, expected: str) -> None:
        if self._next() != expected:
            raise self._error(f"expected {expected!r}")
        self._step(self._at + 1)

    def _step(self, to: int) -> None:
        self._line += self._text.count("\n", self._at, to)
        self._at = to

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except DamagedStreamError as error:
            raise error.at(self._line) from None

    def _add(self, raw: bytes) -> None:
        """Forget what was taken, and read on."""
        self._ended = not raw
        try:
            more = self._decode.decode(raw, final=self._ended)
        except UnicodeDecodeError as error:
            before = self._text[self._at :].count("\n") + error.object[: error.start].count(b"\n")
            raise JsonError(Message("not UTF-8 text"), self._line + before) from None
        self._text, self._at = self._text[self._at :] + more, 0

    def _error(self, what: str) -> JsonError:
        column = self._at - self._text.rfind("\n", 0, self._at)
        return JsonError(
            Message("not JSON ({msg}, column {colno})", msg=Message(what), colno=column), self._line
        )


def _loads(raw: bytes, exact: bool = False, unique: bool = False) -> Any:
    """The value of `raw`; with `unique`, a key that stands twice in an object is an error."""
    try:
        found = parse_json_row(raw) if unique else orjson.loads(raw)
        return json.loads(raw, parse_float=ExactFloat) if exact else found
    except RecursionError:
        raise JsonError(Message("nested too deeply"), 1) from None
    except RepeatedKeyError as error:
        raise JsonError(str(error), error.line) from None
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
        if constant := _CONSTANT.match(error.doc, error.pos):
            what = Message(
                "holds {constant}, which is no value of JSON; write null instead",
                constant=constant[0],
            )
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
