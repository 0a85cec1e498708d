"""The user's own text: .txt, .jsonl and .json files, folders and globs of them, as documents.

Files are read line by line, so that a corpus may be larger than memory, and errors name the line.
"""

from __future__ import annotations

import glob
import hashlib
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from io import BufferedReader
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from lmm_tui.data.errors import DataError
from lmm_tui.data.text.json_rows import (
    BOM,
    BadLine,
    JsonError,
    Parse,
    Skipped,
    json_array,
    json_lines,
    starts_array,
)
from lmm_tui.data.text.passages import SEPARATOR, documents
from lmm_tui.data.text.row_fields import TEXT_FIELDS, refuse_unlearnable, unused_fields
from lmm_tui.data.tokenizing.cpus import usable_cpus
from lmm_tui.message import Message, os_reason

SUFFIXES = (".txt", ".jsonl", ".json")

T = TypeVar("T")

LONGEST = 1 << 22
"""No document is longer: characters of a row, bytes of a line of a .txt file. Longer ones are cut,
so that what is held in memory has a bound."""

_NUL = b"\0"
_BLOCK = 1 << 20
_REPORTED_EVERY_S = 0.25
_AHEAD = 64


class FileText:
    """Documents of some files, in the order of the files."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self._stamps = [stamp(path) for path in paths]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for size, _ in self._stamps)

    def identity(self, progress: Callable[[str, int, int], None]) -> str:
        """A hash of the contents, of their order and of how each is read; names play no part."""
        whole = hashlib.blake2b(digest_size=16)
        reading = _Digests()
        with ThreadPoolExecutor(min(8, usable_cpus())) as pool:
            try:
                for path, digest in self._submitted(pool, reading):
                    while not wait([digest], _REPORTED_EVERY_S).done:
                        progress(Message("hashing"), min(reading.done, self.size), self.size)
                    whole.update(path.suffix.lower().encode() + digest.result())
            except BaseException:
                reading.stopped = True
                raise
        progress(Message("hashing"), self.size, self.size)
        return f"files {whole.hexdigest()}"

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
        for index, (path, before) in enumerate(zip(self.paths, self._stamps, strict=True)):
            with opened(path) as file:
                if path.suffix.lower() != ".txt":
                    rows = json_rows(file, path, index, partial(_text_of, skipped), skipped)
                    for text in rows:
                        yield from (part for part in _cut_long(text) if part.strip())
                else:
                    yield from documents(_text_lines(file, path))
            check_unchanged(path, before)

    def locate(self, bad: BadLine) -> str:
        """`file:line: why`, for people."""
        return Message(
            "{path}:{line}: {why}", path=self.paths[bad.file], line=bad.line, why=bad.why
        )


def json_rows(
    file: BufferedReader,
    path: Path,
    index: int,
    parse: Parse[T],
    skipped: Skipped,
    *,
    exact: bool = False,
) -> Iterator[T]:
    """What `parse` makes of the rows of an open file: an object a line, or an array in a .json.

    Raises DataError at once where an array is not JSON.
    """
    if path.suffix.lower() == ".json" and starts_array(file):
        try:
            yield from json_array(file, index, parse, skipped, exact=exact)
        except JsonError as error:
            raise DataError(
                "{path}:{line}: {error}; mend the file", path=path, line=error.line, error=error
            ) from None
    else:
        yield from json_lines(file, index, parse, skipped, exact=exact)


def find(source: str, suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """The files that `source` means: a file, a folder (searched recursively) or a glob; sorted.

    Folders and globs give their files with these suffixes, hidden ones left out. Raises
    DataError where there are none.
    """
    kinds = " / ".join(suffixes)
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
        raise DataError(
            "data.source: {source!r} cannot be read ({error})",
            source=source,
            error=os_reason(error),
        ) from None
    found = sorted({path for path in matches if path.suffix.lower() in suffixes})
    if found:
        return found
    if given.is_dir():
        problem = Message("the folder {source!r} holds no {kinds} file", source=source, kinds=kinds)
    elif matches:
        problem = Message("{source!r} is no {kinds} file", source=source, kinds=kinds)
    else:
        problem = Message("no file, folder or glob matches {source!r}", source=source)
    raise DataError(
        "data.source: {problem}; give 'builtin', {kinds} files, a folder or a glob of them",
        problem=problem,
        kinds=kinds,
    )


def _inside(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _text_lines(file: BufferedReader, path: Path) -> Iterator[str]:
    """Lines with their ends; one of more than `LONGEST` bytes comes in several parts."""
    offset, number, rest = 0, 1, b""
    while raw := rest + file.readline(LONGEST):
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


def _text_of(skipped: Skipped, record: dict[str, Any]) -> str:
    """The `text` of a JSONL line; ValueError says why there is none. Other fields are noted."""
    if "text" not in record:
        raise ValueError(Message('no key "text"'))
    if not isinstance(record["text"], str):
        raise ValueError(Message('"text" is not a string'))
    refuse_unlearnable(record)
    skipped.unused.update(dict.fromkeys(unused_fields(record, TEXT_FIELDS)))
    return str(record["text"])


class _Digests:
    """Hashes of files, made by several threads that count what they have read."""

    def __init__(self) -> None:
        self.done = 0
        self.stopped = False
        self._lock = Lock()

    def digest(self, path: Path) -> bytes:
        found = hashlib.blake2b()
        with opened(path) as file:
            for block in iter(partial(file.read, _BLOCK), b""):
                if self.stopped:
                    break
                found.update(block)
                with self._lock:
                    self.done += len(block)
        return found.digest()


def stamp(path: Path) -> tuple[int, int]:
    """Tells a file from what it was or becomes: bytes, and when it was last changed."""
    try:
        stat = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    return stat.st_size, stat.st_mtime_ns


def check_unchanged(path: Path, before: tuple[int, int]) -> None:
    """DataError where a file is no longer what it was at the stamp `before`."""
    if stamp(path) != before:
        raise DataError("{path}: changed while it was read; start again when it is done", path=path)


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """The file, to read bytes from; DataError where that does not work."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(
        "{path}: cannot be read ({error}); mend that or leave it out",
        path=path,
        error=os_reason(error),
    )


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
