"""What the built-in text and questions follow from: code and wordings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path


def builtin_identity(side: str, kinds: Sequence[str]) -> str:
    """Equal for equal built-in rows."""
    return f"builtin {side} {list(kinds)} {_version()}"


@cache
def _version() -> str:
    folder = Path(__file__).parent
    return version_of(sorted([*folder.rglob("*.py"), *folder.rglob("*.toml")]))


def version_of(files: Iterable[Path]) -> str:
    """Equal for files of equal contents in one order."""
    return hashlib.blake2b(b"".join(map(Path.read_bytes, files)), digest_size=8).hexdigest()


if __name__ == "__main__":
    print(builtin_identity("test", ["sums"]))
    assert builtin_identity("test", []) != builtin_identity("train", [])
    print("=== 自测通过 ===")
