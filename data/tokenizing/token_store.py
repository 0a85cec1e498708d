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
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lmm_tui.data.errors import DataError
from lmm_tui.guarded_files import replacing

_MAGIC = b"LMMTOKEN"
_VERSION = 1
# magic, version, bytes per id, vocabulary size, tokens, documents, bytes of text, checksum of
# everything after the header, tokenizer fingerprint
_FIELDS = struct.Struct("<8sIIQQQQI32s")
_CHECKSUM = struct.Struct("<I")
_HEADER_SIZE = 128
_TABLE_ALIGNMENT = 8


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
        ends = np.concatenate([[0], self.document_ends, [self.tokens]])
        sizes = np.concatenate([[0], self.byte_ends, [self.bytes]])
        size = round(float(np.interp(cut, ends, sizes)))
        whole = int(np.searchsorted(self.document_ends, cut, side="right"))
        head = TokenStore(
            self.ids[:cut],
            self.document_ends[:whole],
            self.byte_ends[:whole],
            size,
            self.fingerprint,
        )
        tail = TokenStore(
            self.ids[cut:],
            self.document_ends[whole:] - cut,
            self.byte_ends[whole:] - size,
            self.bytes - size,
            self.fingerprint,
        )
        return head, tail

    @classmethod
    def open(cls, path: Path, fingerprint: str) -> TokenStore:
        """Map a file that `write_tokens` made with the tokenizer of this fingerprint.

        Reads it once to verify its checksum. Raises DataError if it is missing, truncated, corrupt,
        of another version or of another tokenizer.
        """
        try:
            raw = np.asarray(np.memmap(path, np.uint8, "r"))
        except (OSError, ValueError):  # numpy refuses to map an empty file.
            raise _damaged(path, "cannot be read") from None
        header = raw[:_HEADER_SIZE].tobytes()
        if len(header) < _HEADER_SIZE or not header.startswith(_MAGIC):
            raise _damaged(path, "is no token file")
        (checksum,) = _CHECKSUM.unpack_from(header, _HEADER_SIZE - _CHECKSUM.size)
        if zlib.crc32(header[: -_CHECKSUM.size]) != checksum:
            raise _damaged(path, "has a damaged header")
        fields = _FIELDS.unpack_from(header)
        _, version, width, _, tokens, documents, size, body_checksum, made_with = fields
        if version != _VERSION:
            raise _damaged(path, f"has format {version}, not {_VERSION}")
        if made_with.decode() != fingerprint:
            raise DataError(
                f"{path}: was made with tokenizer {made_with.decode()}, which is not this one "
                f"({fingerprint}); give that tokenizer, or delete {path.parent}"
            )
        table_start = _table_start(tokens * width)
        expected = table_start + documents * 16
        if len(raw) != expected:
            raise _damaged(path, f"is truncated ({len(raw)} of {expected} bytes)")
        if zlib.crc32(raw[_HEADER_SIZE:].data) != body_checksum:
            raise _damaged(path, "is corrupt (its checksum is wrong)")
        kind = np.dtype(f"<u{width}")
        table = raw[table_start:].view(np.dtype("<i8")).reshape(2, documents)
        ids = raw[_HEADER_SIZE : _HEADER_SIZE + tokens * width].view(kind)
        return cls(ids, table[0], table[1], size, fingerprint)


def write_tokens(
    path: Path,
    documents: Iterable[tuple[Sequence[int], int]],
    vocab_size: int,
    fingerprint: str,
) -> None:
    """Write (ids, bytes of text) of each document; the file is renamed into place when complete.

    `ids` are less than `vocab_size`; `fingerprint` has 32 characters.
    """
    kind = np.dtype("<u2" if vocab_size < 65536 else "<u4")
    document_ends, byte_ends = array("q"), array("q")
    tokens = size = checksum = 0
    with replacing(path) as file:
        file.write(bytes(_HEADER_SIZE))

        def put(block: bytes) -> None:
            nonlocal checksum
            checksum = zlib.crc32(block, checksum)
            file.write(block)

        for ids, text_bytes in documents:
            put(np.asarray(ids, kind).tobytes())
            tokens += len(ids)
            size += text_bytes
            document_ends.append(tokens)
            byte_ends.append(size)
        length = tokens * kind.itemsize
        put(bytes(_table_start(length) - _HEADER_SIZE - length))
        put(np.array([document_ends, byte_ends], "<i8").tobytes())
        counts = (vocab_size, tokens, len(document_ends), size)
        header = _FIELDS.pack(
            _MAGIC, _VERSION, kind.itemsize, *counts, checksum, fingerprint.encode()
        ).ljust(_HEADER_SIZE - _CHECKSUM.size, b"\0")
        file.seek(0)
        file.write(header + _CHECKSUM.pack(zlib.crc32(header)))
        file.flush()
        os.fsync(file.fileno())


def _table_start(length: int) -> int:
    """The offset of the document table after `length` bytes of ids."""
    return _HEADER_SIZE + -(-length // _TABLE_ALIGNMENT) * _TABLE_ALIGNMENT


def _damaged(path: Path, problem: str) -> DataError:
    return DataError(f"{path}: {problem}; delete {path.parent}, and it will be made again")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        demo = Path(scratch, "tokens.bin")
        write_tokens(demo, [([5, 6, 7, 0], 9), ([8, 0], 4)], vocab_size=300, fingerprint="f" * 32)
        store = TokenStore.open(demo, "f" * 32)
        print(store.ids, store.document_ends, store.bytes_per_token)
    print("=== 自测通过 ===")
