"""The rows of chat, preference and prompt files as one stream that can be read more than once.

Each pass reads the files again, so that they may be larger than memory. The caller parses a row;
this module finds files, counts rows that cannot be used, and refuses files with too many of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from lmm_tui.data.errors import DataError
from lmm_tui.data.text.containers import ROW_FORMATS
from lmm_tui.data.text.files import FileText
from lmm_tui.data.text.json_rows import Parse, Skipped
from lmm_tui.data.text.locate import locate
from lmm_tui.data.text.open_files import check_unchanged, stamp
from lmm_tui.data.text.row_fields import shape_of, unused_fields
from lmm_tui.data.text.row_files import RowReader
from lmm_tui.data.text.source import Source
from lmm_tui.message import Message

T = TypeVar("T")
Progress = Callable[[str, int, int], None]
"""Called with (activity, done, total); may raise to cancel."""


_identities: dict[str, str] = {}
"""Of files as they are, by `FileText.changes`: both sides of a split are of the same files."""


class Dataset(Generic[T]):
    """Iterates over what the rows stand for; the same each time."""

    def __init__(
        self,
        rows: Callable[[Skipped], Iterator[T]],
        paths: tuple[Path, ...] = (),
        notes: tuple[str, ...] = (),
        *,
        kind: str,
        identity: Callable[[Progress], str],
        size: int = 0,
    ) -> None:
        """`rows` makes one pass and reports what it leaves out; `paths` are the files behind.

        `kind` says what is made of the rows, and of which; `identity` is equal where the rows are,
        and may read the files. `size` is in bytes, about.
        """
        self._rows = rows
        self.kind, self.identity, self.size = kind, identity, size
        self.paths = paths
        self.notes = notes
        """Sentences for people about how the files were chosen."""
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
    source: str | Source,
    parse: Parse[T],
    keep: Callable[[T], bool],
    *,
    kind: str = "rows",
    fields: frozenset[str],
    role: str,
    either: tuple[str, ...] = (),
    exact_numbers: bool = False,
) -> Dataset[T]:
    """The rows of a source's files that `keep` selects; `kind` says what `parse` and `keep` do.

    `fields` of a row have an effect, of `either` one may hold `role`; with `exact_numbers`, numbers
    of JSON beyond 64 bits and fractions are as they are written. More than 1 % of bad rows, or no
    row at all, is a DataError at the end of a pass; a file that cannot be read is one at once.
    """
    source = Source.parse(source).naming(role)
    located = locate(source, ROW_FORMATS)
    paths = tuple(located.paths)
    stamps = [stamp(path) for path in paths]
    files = FileText(located.paths, source)

    def rows(skipped: Skipped) -> Iterator[T]:
        def noted(row: dict[str, Any]) -> T:
            made = parse(row)
            skipped.unused.update(dict.fromkeys(unused_fields(row, fields)))
            return made

        reader = RowReader(
            source, noted, skipped, fields=fields, role=role, either=either, exact=exact_numbers
        )
        for index, (path, before) in enumerate(zip(paths, stamps, strict=True)):
            yield from filter(keep, reader.read(path, index))
            check_unchanged(path, before)
        if skipped.too_many:
            raise DataError(skipped.refusal(found.skipped_rows[0]))
        if not skipped.lines:
            raise DataError(
                "data.source: {source!r} holds no rows; give files that do", source=str(source)
            )
        reader.check_filter()

    def identity(progress: Progress) -> str:
        if (changes := files.changes) not in _identities:
            _identities[changes] = files.identity(progress)
        return _identities[changes]

    found = Dataset(
        rows,
        paths,
        located.notes,
        kind=kind,
        identity=identity,
        size=files.size,
    )
    return found


def joined(parts: Sequence[Dataset[T]]) -> Dataset[T]:
    """The rows of several datasets, one after another."""

    def rows(skipped: Skipped) -> Iterator[T]:
        before = 0
        for part in parts:
            yield from part
            skipped.include(part.skipped, before.__add__)
            before += len(part.paths)

    paths = tuple(path for part in parts for path in part.paths)
    return Dataset(
        rows,
        paths,
        tuple(note for part in parts for note in part.notes),
        kind=parts[0].kind,
        identity=lambda progress: f"joined {[part.identity(progress) for part in parts]}",
        size=sum(part.size for part in parts),
    )


if __name__ == "__main__":

    def text(row: dict[str, Any]) -> str:
        if "text" not in row:
            raise ValueError(f'expected {{"text"}}, {shape_of(row)}')
        return str(row["text"])

    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "a.json").write_text('[{"text": "one"}, {"text": "two"}]', encoding="utf-8")
        Path(scratch, "b.jsonl").write_text('{"text": "three"}\n{"txt": ""}\n', encoding="utf-8")
        demo = from_files(
            scratch,
            text,
            lambda it: it != "two",
            kind="all but two",
            fields=frozenset({"text"}),
            role="text",
        )
        try:
            print(list(demo))
        except DataError as refusal:
            print(refusal)
        assert demo.skipped.count == 1
    print("=== 自测通过 ===")
