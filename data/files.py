"""The user's own text: .txt and .jsonl files, folders and globs of them, read as documents.

Reads line by line, so that a corpus may be larger than memory, and says exactly where something
is wrong. It knows no tokenizer and no cache.
"""

from __future__ import annotations

import glob
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path

import orjson

from data.errors import DataError
from data.passages import documents

SUFFIXES = (".txt", ".jsonl")
TOLERATED = 0.01
"""Share of JSONL lines that may be broken."""

_SHOWN = 100
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class BadLine:
    file: int
    """Index into the files of the corpus: a cached report stays right when they are moved."""
    line: int
    """From 1."""
    why: str


@dataclass
class Skipped:
    """What was left out of the JSONL files while they were read."""

    lines: int = 0
    """JSONL lines read, good and bad; blank ones don't count."""
    count: int = 0
    first: list[BadLine] = field(default_factory=list)
    """The first 100 bad lines."""

    def add(self, bad: BadLine) -> None:
        self.count += 1
        if len(self.first) < _SHOWN:
            self.first.append(bad)

    @property
    def too_many(self) -> bool:
        return self.count > TOLERATED * self.lines


class FileText:
    """Documents of some files, in the order of the files."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self._stamps = [_stamp(path) for path in paths]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for size, _ in self._stamps)

    def identity(self, progress: Callable[[str, int, int], None]) -> str:
        """A hash of the contents, of their order and of how each is read; names play no part."""
        whole = hashlib.blake2b(digest_size=16)
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for done, (path, digest) in enumerate(
                zip(self.paths, pool.map(_digest, self.paths), strict=True), start=1
            ):
                whole.update(path.suffix.lower().encode() + digest)
                progress("hashing", done, len(self.paths))
        return f"files {whole.hexdigest()}"

    def documents(self, skipped: Skipped) -> Iterator[str]:
        """All documents, none of them blank; broken JSONL lines go to `skipped`.

        Raises DataError at text that is not UTF-8, and where a file has changed since the start.
        """
        for index, (path, stamp) in enumerate(zip(self.paths, self._stamps, strict=True)):
            with _opened(path) as file:
                if path.suffix.lower() == ".jsonl":
                    yield from _json_texts(file, index, skipped)
                else:
                    yield from documents(_text_lines(file, path))
            if _stamp(path) != stamp:
                raise DataError(f"{path}: changed while it was read; start again when it is done")

    def locate(self, bad: BadLine) -> str:
        """`file:line: why`, for people."""
        return f"{self.paths[bad.file]}:{bad.line}: {bad.why}"


def find(source: str) -> list[Path]:
    """The files that `source` means: a file, a folder (searched recursively) or a glob; sorted.

    Folders and globs give their .txt and .jsonl files, hidden ones left out. Raises DataError
    where there are none.
    """
    given = Path(source).expanduser()
    try:
        if given.is_file():
            matches = [given]
        elif given.is_dir():
            matches = _inside(given)
        else:
            matches = []
            for match in map(Path, glob.glob(str(given), recursive=True)):  # noqa: PTH207
                matches += _inside(match) if match.is_dir() else [match]
    except OSError as error:
        raise DataError(f"data.source: {source!r} cannot be read ({error.strerror})") from None
    found = sorted({path for path in matches if path.suffix.lower() in SUFFIXES})
    if found:
        return found
    if given.is_dir():
        problem = f"the folder {source!r} holds no .txt or .jsonl file"
    elif matches:
        problem = f"{source!r} is neither .txt nor .jsonl"
    else:
        problem = f"no file, folder or glob matches {source!r}"
    raise DataError(
        f"data.source: {problem}; give 'builtin', .txt or .jsonl files, a folder or a glob of them"
    )


def _inside(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _text_lines(file: BufferedReader, path: Path) -> Iterator[str]:
    offset = 0
    for number, raw in enumerate(file, start=1):
        line = raw.removeprefix(_BOM) if number == 1 else raw
        try:
            yield line.decode().replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            byte = offset + len(raw) - len(line) + error.start
            raise DataError(
                f"{path}:{number}: not UTF-8 text (byte {byte} of the file); "
                "convert the file to UTF-8"
            ) from None
        offset += len(raw)


def _json_texts(file: BufferedReader, index: int, skipped: Skipped) -> Iterator[str]:
    for number, raw in enumerate(file, start=1):
        line = (raw.removeprefix(_BOM) if number == 1 else raw).strip()
        if not line:
            continue
        skipped.lines += 1
        try:
            text = _json_text(line)
        except ValueError as error:
            skipped.add(BadLine(index, number, str(error)))
            continue
        if text.strip():
            yield text


def _json_text(line: bytes) -> str:
    """The `text` of a JSONL line; ValueError says why there is none."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        try:
            line.decode()
        except UnicodeDecodeError as undecodable:
            raise ValueError(f"not UTF-8 (byte {undecodable.start} of the line)") from None
        raise ValueError(f"not JSON ({error.msg}, column {error.colno})") from None
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    if "text" not in record:
        raise ValueError('no key "text"')
    if not isinstance(record["text"], str):
        raise ValueError('"text" is not a string')
    return record["text"]


def _digest(path: Path) -> bytes:
    with _opened(path) as file:
        return hashlib.file_digest(file, "blake2b").digest()


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    return stat.st_size, stat.st_mtime_ns


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be read ({error.strerror}); mend that or leave it out")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        demo = Path(scratch, "demo.jsonl")
        demo.write_text('{"text": "one"}\n{"txt": "two"}\n{"text": "three"}\n', encoding="utf-8")
        corpus, report = FileText(find(f"{scratch}/*.jsonl")), Skipped()
        print(list(corpus.documents(report)), [corpus.locate(bad) for bad in report.first])
        assert report.too_many
        try:
            find(f"{scratch}/*.txt")
        except DataError as refusal:
            print(refusal)
    print("=== 自测通过 ===")
