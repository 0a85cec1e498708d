"""The user's own text: files of any format, folders and globs of them, as documents.

Files are read row by row, so that a corpus may be larger than memory, and errors name the row.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from io import BufferedReader
from pathlib import Path
from threading import Lock
from typing import Any

from lmm_tui.data.errors import DataError
from lmm_tui.data.text.compressed import DamagedStreamError
from lmm_tui.data.text.containers import TEXT, format_of, text_bytes
from lmm_tui.data.text.json_rows import BOM, BadLine, Skipped
from lmm_tui.data.text.locate import locate
from lmm_tui.data.text.open_files import check_unchanged, opened, stamp
from lmm_tui.data.text.passages import SEPARATOR, documents
from lmm_tui.data.text.row_fields import TEXT_FIELDS, refuse_unlearnable, shape_of, unused_fields
from lmm_tui.data.text.row_files import RowReader, TextColumn
from lmm_tui.data.text.source import Source
from lmm_tui.data.tokenizing.cpus import usable_cpus
from lmm_tui.message import Message

LONGEST = 1 << 22
"""No document is longer: characters of a row, bytes of a line of a .txt file. Longer ones are cut,
so that what is held in memory has a bound."""

_NUL = b"\0"
_BLOCK = 1 << 20
_REPORTED_EVERY_S = 0.25
_AHEAD = 64


class FileText:
    """Documents of some files, in the order of the files."""

    def __init__(
        self, paths: list[Path], source: Source | None = None, notes: tuple[str, ...] = ()
    ) -> None:
        """`source` says which columns and rows are read, `notes` how the files were chosen."""
        self.paths, self.notes = paths, notes
        self._source = (source or Source("")).naming("text")
        self._stamps = [stamp(path) for path in paths]

    @classmethod
    def of(cls, source: Source) -> FileText:
        """The text of what a source means."""
        located = locate(source)
        return cls(located.paths, source, located.notes)

    @property
    def size(self) -> int:
        """Bytes of text in all files, about."""
        pairs = zip(self.paths, self._stamps, strict=True)
        return sum(text_bytes(path, size) for path, (size, _) in pairs)

    @property
    def stored(self) -> int:
        """Bytes of all files."""
        return sum(size for size, _ in self._stamps)

    @property
    def changes(self) -> str:
        """Equal as long as no file has changed; known without reading them."""
        pairs = zip(self.paths, self._stamps, strict=True)
        listed = [f"{path.absolute()}{mark}" for path, mark in pairs]
        listed.append(self._source.reading)
        return hashlib.blake2b("\n".join(listed).encode(), digest_size=16).hexdigest()

    def identity(self, progress: Callable[[str, int, int], None]) -> str:
        """A hash of the contents, of their order and of how each is read; names play no part."""
        whole = hashlib.blake2b(digest_size=16)
        reading = _Digests()
        with ThreadPoolExecutor(min(8, usable_cpus())) as pool:
            try:
                for path, digest in self._submitted(pool, reading):
                    while not wait([digest], _REPORTED_EVERY_S).done:
                        progress(Message("hashing"), min(reading.done, self.stored), self.stored)
                    whole.update(path.suffix.lower().encode() + digest.result())
            except BaseException:
                reading.stopped = True
                raise
        progress(Message("hashing"), self.stored, self.stored)
        return f"files {whole.hexdigest()}{self._source.reading}"

    def _submitted(
        self, pool: ThreadPoolExecutor, reading: _Digests
    ) -> Iterator[tuple[Path, Future[bytes]]]:
        """Each file and its hash to be, some files ahead: there may be millions."""
        ahead: deque[tuple[Path, Future[bytes]]] = deque()
        for path in self.paths:
            ahead.append((path, pool.submit(reading.digest, path)))
            if len(ahead) > _AHEAD:
                yield ahead.popleft()
        yield from ahead

    def documents(self, skipped: Skipped) -> Iterator[str]:
        """All documents, none of them blank; broken JSONL lines go to `skipped`.

        Raises DataError at text that is not UTF-8, and where a file has changed since the start.
        """
        columns = dict(self._source.columns)
        column = TextColumn(
            "text" if "text" in columns else None,
            lambda name: skipped.columns.setdefault(columns.get("text", name)),
        )
        reader = RowReader(
            self._source,
            partial(_text_of, skipped, column),
            skipped,
            fields=TextColumn.USUAL,
            role="text",
            either=TextColumn.USUAL,
        )
        for index, (path, before) in enumerate(zip(self.paths, self._stamps, strict=True)):
            if format_of(path) == TEXT:
                self._refuse_filter(path)
                with opened(path) as file:
                    yield from documents(_text_lines(file, path))
            else:
                for text in reader.read(path, index):
                    yield from (part for part in _cut_long(text) if part.strip())
            check_unchanged(path, before)
        reader.check_filter()

    def _refuse_filter(self, path: Path) -> None:
        if self._source.is_special:
            raise DataError(
                "{path}: a .txt file has no columns to filter or to name; give "
                "rows, or leave filter and data.columns out",
                path=path,
            )

    def locate(self, bad: BadLine) -> str:
        """`file:line: why`, for people."""
        return Message(
            "{path}:{line}: {why}", path=self.paths[bad.file], line=bad.line, why=bad.why
        )


def _text_lines(file: BufferedReader, path: Path) -> Iterator[str]:
    """Lines with their ends; one of more than `LONGEST` bytes comes in several parts."""
    offset, number, rest = 0, 1, b""
    while raw := rest + _line(file, path, number):
        piece = raw if raw.endswith(b"\n") or len(raw) < LONGEST else raw[: _cut(raw)]
        rest = raw[len(piece) :]
        if _NUL in piece:
            raise DataError(
                "{path}:{number}: a NUL byte (byte {offset} of the file), as in "
                "UTF-16 or a binary file; convert the file to UTF-8",
                path=path,
                number=number,
                offset=offset + piece.index(_NUL),
            )
        line = piece.removeprefix(BOM) if offset == 0 else piece
        try:
            yield line.decode().replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            byte = offset + len(piece) - len(line) + error.start
            raise DataError(
                "{path}:{number}: not UTF-8 text (byte {byte} of the file); "
                "convert the file to UTF-8",
                path=path,
                number=number,
                byte=byte,
            ) from None
        offset += len(piece)
        number += piece.endswith(b"\n")


def _line(file: BufferedReader, path: Path, number: int) -> bytes:
    try:
        return file.readline(LONGEST)
    except DamagedStreamError as error:
        raise error.at(number) from None


def _cut(raw: bytes) -> int:
    """Where to cut a part of a long line: after its last space, else between two characters."""
    if at := raw.rfind(b" ", len(raw) // 2) + 1:
        return at
    at = len(raw)
    # A separator is not cut, and neither is a character: its further bytes are 10xxxxxx.
    bracket = raw.rfind(b"<", at - len(SEPARATOR))
    at = bracket if bracket > 0 else at - 1
    while at > len(raw) - 4 and raw[at] & 0xC0 == 0x80:
        at -= 1
    return at


def _cut_long(text: str) -> Iterator[str]:
    """A text, in parts if it is longer than `LONGEST`: cut after a space if there is one."""
    start = 0
    while len(text) - start > LONGEST:
        space = text.rfind(" ", start + LONGEST // 2, start + LONGEST)
        end = space + 1 if space >= 0 else start + LONGEST
        yield text[start:end]
        start = end
    yield text[start:] if start else text


def _text_of(skipped: Skipped, column: TextColumn, record: dict[str, Any]) -> str:
    """The text of a row; ValueError says why there is none. Other fields are noted."""
    name = column.of(record)
    if name not in record:
        raise ValueError(Message('no "{name}"; {shape_of}', name=name, shape_of=shape_of(record)))
    if not isinstance(record[name], str):
        raise ValueError(Message('"{name}" is not a string', name=name))
    refuse_unlearnable(record)
    known = (TEXT_FIELDS - {"text"}) | {name}
    skipped.unused.update(dict.fromkeys(unused_fields(record, known)))
    return str(record[name])


class _Digests:
    """Hashes of files, made by several threads that count what they have read."""

    def __init__(self) -> None:
        self.done = 0
        self.stopped = False
        self._lock = Lock()

    def digest(self, path: Path) -> bytes:
        found = hashlib.blake2b()
        with opened(path, as_stored=True) as file:
            for block in iter(partial(file.read, _BLOCK), b""):
                if self.stopped:
                    break
                found.update(block)
                with self._lock:
                    self.done += len(block)
        return found.digest()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        demo = Path(scratch, "demo.jsonl")
        demo.write_text('{"text": "one"}\n{"txt": "two"}\n{"text": "three"}\n', encoding="utf-8")
        corpus, report = FileText.of(Source(f"{scratch}/*.jsonl")), Skipped()
        print(list(corpus.documents(report)), [corpus.locate(bad) for bad in report.first])
        assert report.too_many
        try:
            FileText.of(Source(f"{scratch}/*.txt"))
        except DataError as refusal:
            print(refusal)
    print("=== 自测通过 ===")
