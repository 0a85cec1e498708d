"""The rows of chat, preference and prompt files as one stream that can be read again and again.

Each pass reads the files anew, so that they may be larger than memory. What a row means is the
caller's: this module only finds files, counts what cannot be used, and refuses what is too bad.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from lmm_tui.data.errors import DataError
from lmm_tui.data.text.files import check_unchanged, find, opened, stamp
from lmm_tui.data.text.json_rows import (
    JsonError,
    Parse,
    Skipped,
    json_array,
    json_lines,
    starts_array,
)

SUFFIXES = (".json", ".jsonl")

T = TypeVar("T")


class Dataset(Generic[T]):
    """Iterates over what the rows stand for; the same each time."""

    def __init__(
        self, rows: Callable[[Skipped], Iterator[T]], paths: tuple[Path, ...] = ()
    ) -> None:
        """`rows` makes one pass and reports what it leaves out; `paths` are the files behind."""
        self._rows = rows
        self._paths = paths
        self.skipped = Skipped()
        """Of the latest pass, as far as it went."""

    def __iter__(self) -> Iterator[T]:
        """Raises DataError where files cannot be used; what is wrong with rows, at the end."""
        self.skipped = Skipped()
        yield from self._rows(self.skipped)

    @property
    def skipped_rows(self) -> tuple[str, ...]:
        """`file:line: why` of the first 100 rows that were left out."""
        return tuple(f"{self._paths[bad.file]}:{bad.line}: {bad.why}" for bad in self.skipped.first)


def from_files(source: str, parse: Parse[T], keep: Callable[[T], bool]) -> Dataset[T]:
    """The rows of .json and .jsonl files that `keep` wants: a file, a folder or a glob of them.

    A .json file holds an array, or an object a line. More than 1 % of bad rows, or no row at all,
    is a DataError at the end of a pass; text that isn't JSON at all is one at once.
    """
    paths = tuple(find(source, SUFFIXES))
    stamps = [stamp(path) for path in paths]

    def rows(skipped: Skipped) -> Iterator[T]:
        for index, (path, before) in enumerate(zip(paths, stamps, strict=True)):
            for row in _rows_of(path, index, parse, skipped):
                if keep(row):
                    yield row
            check_unchanged(path, before)
        if skipped.too_many:
            raise DataError(skipped.refusal(found.skipped_rows[0]))
        if not skipped.lines:
            raise DataError(f"data.source: {source!r} holds no rows; give files that do")

    found = Dataset(rows, paths)
    return found


def _rows_of(path: Path, index: int, parse: Parse[T], skipped: Skipped) -> Iterator[T]:
    with opened(path) as file:
        if path.suffix.lower() == ".json" and starts_array(file):
            try:
                yield from json_array(file, index, parse, skipped)
            except JsonError as error:
                raise DataError(f"{path}:{error.line}: {error}; mend the file") from None
        else:
            yield from json_lines(file, index, parse, skipped)


def shape_of(row: dict[str, Any]) -> str:
    """The keys of a row, for a sentence about what was found instead of what was expected."""
    keys = ", ".join(json.dumps(key, ensure_ascii=False) for key in list(row)[:6])
    return f"found {keys}" if keys else "found an empty object"


if __name__ == "__main__":

    def text(row: dict[str, Any]) -> str:
        if "text" not in row:
            raise ValueError(f'expected {{"text"}}, {shape_of(row)}')
        return str(row["text"])

    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "a.json").write_text('[{"text": "one"}, {"text": "two"}]', encoding="utf-8")
        Path(scratch, "b.jsonl").write_text('{"text": "three"}\n{"txt": ""}\n', encoding="utf-8")
        demo = from_files(scratch, text, keep=lambda found: found != "two")
        try:
            print(list(demo))
        except DataError as refusal:
            print(refusal)
        assert demo.skipped.count == 1
        assert list(from_files(f"{scratch}/*.json", text, keep=bool)) == ["one", "two"]
    print("=== 自测通过 ===")
