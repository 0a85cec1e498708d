"""Which files hold rows or text, told by their names: formats, and the compressions around them."""

from __future__ import annotations

from pathlib import Path

COMPRESSED = (".gz", ".zst", ".xz", ".bz2")
"""Streams around a text format, such as `.jsonl.gz`."""

PACKED = (".zip", ".tar", ".tgz", ".rar", ".7z", ".lz4", ".lzma", ".br", ".Z", ".sz", *COMPRESSED)
"""Told by their names alone: archives, and streams around what is no text format."""

TEXT, JSON_LINES, JSON, CSV, TSV, PARQUET, ARROW = (
    *(".txt", ".jsonl", ".json"),
    *(".csv", ".tsv", ".parquet", ".arrow"),
)
_ALIASES = {".ndjson": JSON_LINES, ".pq": PARQUET, ".feather": ARROW}
ROW_FORMATS = (JSON_LINES, JSON, CSV, TSV, PARQUET, ARROW)
"""Formats of rows, for conversations, pairs and prompts."""
TEXT_FORMATS = (TEXT, *ROW_FORMATS)
"""Formats of text, for pretraining."""
TABLES = frozenset({PARQUET, ARROW})
"""Read by pyarrow, compressed inside."""
_SEVERAL_TIMES = 3
"""About how many bytes of text stand behind a byte of a compressed file."""


def format_of(path: Path | str) -> str:
    """The format that a name tells, without what it is compressed by; empty where none is known."""
    name = Path(path)
    suffix = name.suffix.lower()
    is_compressed = suffix in COMPRESSED
    if is_compressed:
        suffix = Path(name.stem).suffix.lower()
    found = _ALIASES.get(suffix, suffix)
    known = found in TEXT_FORMATS and not (is_compressed and found in TABLES)
    return found if known else ""


def compression_of(path: Path) -> str:
    """The suffix of the stream around the format; empty where there is none."""
    suffix = path.suffix.lower()
    return suffix if suffix in COMPRESSED else ""


def text_bytes(path: Path, size: int) -> int:
    """About how many bytes of text a file of `size` bytes holds."""
    packed = compression_of(path) or format_of(path) == PARQUET
    return size * _SEVERAL_TIMES if packed else size


def named(formats: tuple[str, ...]) -> str:
    """The formats, for a sentence."""
    return " / ".join(formats)


if __name__ == "__main__":
    for shown in ("a.jsonl.gz", "b.PARQUET", "c.tar.gz", "d.parquet.gz", "e.md"):
        print(shown, format_of(shown) or "-")
    assert format_of("a.jsonl.gz") == JSON_LINES and not format_of("c.tar.gz")
    print("=== 自测通过 ===")
