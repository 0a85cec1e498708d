"""Token ids on disk: one memory-mapped file with a header that describes them.

The file is `header | ids | document table`, little-endian: ids are uint16 if the vocabulary has
less than 65,536 tokens, else uint32; the table has for each document the index after its last
token and the bytes of text up to there. Documents follow each other without padding; the caller
of `write_tokens` ends each with the end token.
"""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lmm_tui.data.errors import DataError
from lmm_tui.guarded_files import open_file, remove, rename
from lmm_tui.message import Message

_MAGIC = b"LMMTOKEN"
_VERSION = 1
# magic, version, bytes per id, vocabulary size, tokens, documents, bytes of text, checksum of
# everything after the header, tokenizer fingerprint
_FIELDS = struct.Struct("<8sIIQQQQI32s")
_CHECKSUM = struct.Struct("<I")
HEADER_SIZE = 128
_TABLE_ALIGNMENT = 8
_COPIED = 1 << 20
"""Bytes read at once."""


@dataclass(frozen=True)
class TokenStore:
    """Tokens of whole documents, or of one side of a split."""

    ids: NDArray[np.unsignedinteger]
    """All tokens, (tokens,), read-only: uint16 or uint32."""
    document_ends: NDArray[np.int64]
    """For each document that ends here, the index after its last token; increasing."""
    byte_ends: NDArray[np.int64]
    """For each of them, the bytes of text up to its end."""
    bytes: int
    """Bytes of text of all tokens."""
    fingerprint: str
    """The fingerprint of the tokenizer that made the ids."""
    lease: object = None
    """Held as long as the ids are: see `data.preparation.cache`."""

    @property
    def tokens(self) -> int:
        return len(self.ids)

    @property
    def documents(self) -> int:
        return len(self.document_ends)

    @property
    def bytes_per_token(self) -> float:
        """Bytes of text per token; end tokens count as tokens."""
        return self.bytes / self.tokens

    def split(self, cut: int) -> tuple[TokenStore, TokenStore]:
        """The first `cut` tokens, and the rest; views, nothing is copied.

        The bytes of a document that is cut are divided in proportion to its tokens.
        """
        whole = int(np.searchsorted(self.document_ends, cut, side="right"))
        around = slice(max(0, whole - 1), whole + 1)
        ends = [0, *self.document_ends[around], self.tokens]
        sizes = [0, *self.byte_ends[around], self.bytes]
        size = round(float(np.interp(cut, ends, sizes)))
        head = TokenStore(
            self.ids[:cut],
            self.document_ends[:whole],
            self.byte_ends[:whole],
            size,
            self.fingerprint,
            self.lease,
        )
        tail = TokenStore(
            self.ids[cut:],
            self.document_ends[whole:] - cut,
            self.byte_ends[whole:] - size,
            self.bytes - size,
            self.fingerprint,
            self.lease,
        )
        return head, tail

    @classmethod
    def open(cls, path: Path, fingerprint: str, lease: object = None) -> TokenStore:
        """Map a file that was written with the tokenizer of this fingerprint.

        Reads it once to verify its checksum. Raises DataError if it is missing, truncated, corrupt,
        of another version or of another tokenizer.
        """
        try:
            with open(open_file(path, inside=path.parents[1]), "rb") as file:  # noqa: PTH123
                raw = np.asarray(np.memmap(file, np.uint8, "r"))
        except (OSError, ValueError):  # numpy refuses to map an empty file.
            raise _damaged(path, Message("cannot be read")) from None
        header = raw[:HEADER_SIZE].tobytes()
        if len(header) < HEADER_SIZE or not header.startswith(_MAGIC):
            raise _damaged(path, Message("is no token file"))
        (checksum,) = _CHECKSUM.unpack_from(header, HEADER_SIZE - _CHECKSUM.size)
        if zlib.crc32(header[: -_CHECKSUM.size]) != checksum:
            raise _damaged(path, Message("has a damaged header"))
        fields = _FIELDS.unpack_from(header)
        _, version, width, _, tokens, documents, size, body_checksum, made_with = fields
        if version != _VERSION:
            raise _damaged(
                path,
                Message("has format {version}, not {version2}", version=version, version2=_VERSION),
            )
        if width not in (2, 4):
            raise _damaged(path, Message("has a damaged header"))
        if made_with != fingerprint.encode():
            raise DataError(
                "{path}: was made with tokenizer {decode}, which is not this one "
                "({fingerprint}); give that tokenizer, or delete {parent}",
                path=path,
                decode=made_with.decode("utf-8", "replace"),
                fingerprint=fingerprint,
                parent=path.parent,
            )
        table_start = _table_start(tokens * width)
        expected = table_start + documents * 16
        if len(raw) != expected:
            raise _damaged(
                path,
                Message(
                    "is truncated ({raw} of {expected} bytes)", raw=len(raw), expected=expected
                ),
            )
        if _checksum_of_body(path) != body_checksum:
            raise _damaged(path, Message("is corrupt (its checksum is wrong)"))
        kind = np.dtype(f"<u{width}")
        table = raw[table_start:].view(np.dtype("<i8")).reshape(2, documents)
        ids = raw[HEADER_SIZE : HEADER_SIZE + tokens * width].view(kind)
        return cls(ids, table[0], table[1], size, fingerprint, lease)


def write_tokens(
    path: Path,
    documents: Iterable[tuple[Sequence[int], int]],
    vocab_size: int,
    fingerprint: str,
) -> None:
    """Write (ids, bytes of text) of each document; the file is renamed into place when complete.

    `ids` are less than `vocab_size`; `fingerprint` has 32 characters.
    """
    with TokenWriter(path, vocab_size, fingerprint) as writer:
        for ids, text_bytes in documents:
            writer.add(np.asarray(ids, writer.kind), [len(ids)], [text_bytes])
        writer.finish()


@dataclass(frozen=True)
class Written:
    """How far a token file has come: what a later process goes on from."""

    documents: int = 0
    tokens: int = 0
    bytes: int = 0
    """Bytes of text."""
    checksum: int = 0
    """Of the ids."""


class NotAsRecordedError(Exception):
    """A file is not as a killed process has recorded it."""


class TokenWriter:
    """Writes a token file beside its place, batch by batch; a killed process's can be gone on with.

    The ids go into `<name>.tmp`, the two columns of the document table into files beside it, so
    that nothing grows in memory.
    """

    def __init__(
        self, path: Path, vocab_size: int, fingerprint: str, written: Written | None = None
    ) -> None:
        """Start anew, or go on from `written`, where the files are as that says."""
        self.kind = np.dtype("<u2" if vocab_size < 65536 else "<u4")
        self.written = written or Written()
        self._path, self._vocab_size, self._fingerprint = path, vocab_size, fingerprint
        places = [path.with_name(path.name + end) for end in (".tmp", ".ends", ".sizes")]
        flags = os.O_RDWR | os.O_CREAT | (0 if written else os.O_TRUNC)

        def private(name: str, _: int) -> int:
            return open_file(Path(name), flags, inside=path.parent)

        self._files = [open(place, "r+b", opener=private) for place in places]  # noqa: SIM115
        self._ids, *self._columns = self._files
        if written is None:
            self._ids.write(bytes(HEADER_SIZE))
        else:
            try:
                self._rewind(self.written)
            except NotAsRecordedError:
                self.close()
                raise

    @property
    def descriptor(self) -> int:
        """Of the file with the ids, which can be read up to what was written."""
        return self._ids.fileno()

    def __enter__(self) -> TokenWriter:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        for file in self._files:
            file.close()

    def add(
        self,
        ids: NDArray[np.unsignedinteger],
        lengths: Sequence[int] | NDArray[np.int64],
        sizes: Sequence[int],
    ) -> Written:
        """Append documents: their ids in a row, the tokens and the bytes of text of each.

        What is returned is in the files, so that a process that is killed afterwards has it.
        """
        block = np.ascontiguousarray(ids, self.kind).tobytes()
        self._ids.write(block)
        at = self.written
        for column, start, steps in zip(
            self._columns, (at.tokens, at.bytes), (lengths, sizes), strict=True
        ):
            column.write((np.cumsum(steps, dtype="<i8") + start).astype("<i8").tobytes())
        for file in self._files:
            file.flush()
        self.written = Written(
            at.documents + len(lengths),
            at.tokens + len(ids),
            at.bytes + sum(sizes),
            zlib.crc32(block, at.checksum),
        )
        return self.written

    def finish(self) -> None:
        """Append the document table, write the header and rename the file into place."""
        at, file = self.written, self._ids
        checksum, length = at.checksum, at.tokens * self.kind.itemsize
        for block in (bytes(_table_start(length) - HEADER_SIZE - length), *self._table()):
            checksum = zlib.crc32(block, checksum)
            file.write(block)
        counts = (self._vocab_size, at.tokens, at.documents, at.bytes)
        header = _FIELDS.pack(
            _MAGIC, _VERSION, self.kind.itemsize, *counts, checksum, self._fingerprint.encode()
        ).ljust(HEADER_SIZE - _CHECKSUM.size, b"\0")
        file.seek(0)
        file.write(header + _CHECKSUM.pack(zlib.crc32(header)))
        file.flush()
        os.fsync(file.fileno())
        self.close()
        rename(Path(file.name), self._path, self._path.parent)
        for column in self._columns:
            remove(Path(column.name), self._path.parent)

    def _table(self) -> Iterator[bytes]:
        for column in self._columns:
            column.seek(0)
            yield from iter(partial(column.read, _COPIED), b"")

    def _rewind(self, written: Written) -> None:
        """Cut the files to what was recorded, and verify it."""
        length = HEADER_SIZE + written.tokens * self.kind.itemsize
        for file, expected in zip(self._files, (length, *[written.documents * 8] * 2), strict=True):
            if file.seek(0, os.SEEK_END) < expected:
                raise NotAsRecordedError(file.name)
            file.truncate(expected)
        checksum = 0
        self._ids.seek(HEADER_SIZE)
        for block in iter(partial(self._ids.read, _COPIED), b""):
            checksum = zlib.crc32(block, checksum)
        if checksum != written.checksum:
            raise NotAsRecordedError(self._ids.name)
        for column, total in zip(self._columns, (written.tokens, written.bytes), strict=True):
            column.seek(max(0, written.documents - 1) * 8)
            if written.documents and int.from_bytes(column.read(8), "little") != total:
                raise NotAsRecordedError(column.name)


def _checksum_of_body(path: Path) -> int:
    """Of what follows the header; read by the megabyte, so that no page of it stays mapped."""
    checksum = 0
    with path.open("rb") as file:
        file.seek(HEADER_SIZE)
        for block in iter(partial(file.read, _COPIED), b""):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _table_start(length: int) -> int:
    """The offset of the document table after `length` bytes of ids."""
    return HEADER_SIZE + -(-length // _TABLE_ALIGNMENT) * _TABLE_ALIGNMENT


def _damaged(path: Path, problem: str) -> DataError:
    return DataError(
        "{path}: {problem}; delete {parent}, and it will be made again",
        path=path,
        problem=problem,
        parent=path.parent,
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        demo = Path(scratch, "tokens.bin")
        write_tokens(demo, [([5, 6, 7, 0], 9), ([8, 0], 4)], vocab_size=300, fingerprint="f" * 32)
        store = TokenStore.open(demo, "f" * 32)
        print(store.ids, store.document_ends, store.bytes_per_token)
    print("=== 自测通过 ===")
