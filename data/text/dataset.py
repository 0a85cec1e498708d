"""The rows of chat, preference and prompt files as one stream that can be read more than once.

Each pass reads the files again, so that they may be larger than memory. The caller parses a row;
this module finds files, counts rows that cannot be used, and refuses files with too many of them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from lmm_tui.data.errors import DataError
from lmm_tui.data.text.files import check_unchanged, find, json_rows, opened, stamp
from lmm_tui.data.text.json_rows import Parse, Skipped
from lmm_tui.message import Message

SUFFIXES = (".json", ".jsonl")

T = TypeVar("T")


class Dataset(Generic[T]):
    """Iterates over what the rows stand for; the same each time."""

    def __init__(
        self, rows: Callable[[Skipped], Iterator[T]], paths: tuple[Path, ...] = ()
    ) -> None:
        """`rows` makes one pass and reports what it leaves out; `paths` are the files behind."""
        self._rows = rows
        self.paths = paths
        self.skipped = Skipped()
        """Of the latest pass, as far as it went."""

    def __iter__(self) -> Iterator[T]:
        """Raises DataError where files cannot be used; what is wrong with rows, at the end."""
        self.skipped = Skipped()
        yield from self._rows(self.skipped)

    @property
    def skipped_rows(self) -> tuple[str, ...]:
        """`file:line: why` of the first 100 rows that were left out."""
        return tuple(
            Message("{path}:{line}: {why}", path=self.paths[bad.file], line=bad.line, why=bad.why)
            for bad in self.skipped.first
        )


def from_files(
    source: str,
    parse: Parse[T],
    keep: Callable[[T], bool],
    *,
    unused: Callable[[dict[str, Any]], Iterable[str]] = lambda row: (),
    exact_numbers: bool = False,
) -> Dataset[T]:
    """The rows of .json and .jsonl files that `keep` selects: a file, a folder or a glob of them.

    `unused` names the fields of a row that have no effect; with `exact_numbers`, numbers beyond 64
    bits and fractions are as they are written. A .json file holds an array, or an object a line.
    More than 1 % of bad rows, or no row at all, is a DataError at the end of a pass; text that
    isn't JSON at all is one at once.
    """
    paths = tuple(find(source, SUFFIXES))
    stamps = [stamp(path) for path in paths]

    def rows(skipped: Skipped) -> Iterator[T]:
        def noted(row: dict[str, Any]) -> T:
            made = parse(row)
            skipped.unused.update(dict.fromkeys(unused(row)))
            return made

        for index, (path, before) in enumerate(zip(paths, stamps, strict=True)):
            with opened(path) as file:
                for row in json_rows(file, path, index, noted, skipped, exact=exact_numbers):
                    if keep(row):
                        yield row
            check_unchanged(path, before)
        if skipped.too_many:
            raise DataError(skipped.refusal(found.skipped_rows[0]))
        if not skipped.lines:
            raise DataError(
                "data.source: {source!r} holds no rows; give files that do", source=source
            )

    found = Dataset(rows, paths)
    return found


def joined(parts: Sequence[Dataset[T]]) -> Dataset[T]:
    """The rows of several datasets, one after another."""

    def rows(skipped: Skipped) -> Iterator[T]:
        before = 0
        for part in parts:
            yield from part
            skipped.include(part.skipped, before.__add__)
            before += len(part.paths)

    return Dataset(rows, tuple(path for part in parts for path in part.paths))


def shape_of(row: dict[str, Any]) -> str:
    """The keys of a row, for a sentence about what was found instead of what was expected."""
    keys = [json.dumps(key, ensure_ascii=False) for key in list(row)[:6]]
    return Message("found {keys}", keys=keys) if keys else Message("found an empty object")


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
