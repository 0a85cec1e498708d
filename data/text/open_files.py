"""Opening a data file to read its bytes, decompressed, and noticing when it changes meanwhile."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from lmm_tui.data.errors import DataError
from lmm_tui.data.text.compressed import Decompressed
from lmm_tui.data.text.containers import compression_of
from lmm_tui.guarded_files import open_file
from lmm_tui.message import os_reason


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
def opened(path: Path, *, as_stored: bool = False) -> Iterator[BufferedReader]:
    """The file, to read bytes from; DataError where that does not work.

    A compressed one gives what it holds, unless it is read `as_stored`.
    """
    try:
        with open(open_file(path), "rb") as file:  # noqa: PTH123
            if as_stored or not compression_of(path):
                yield file
            else:
                stream: Any = Decompressed(file, path)
                with BufferedReader(stream, 1 << 16) as unpacked:
                    yield unpacked
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
        demo = Path(scratch, "demo.txt")
        demo.write_text("one", encoding="utf-8")
        before_demo = stamp(demo)
        demo.write_text("three", encoding="utf-8")
        try:
            check_unchanged(demo, before_demo)
        except DataError as refusal:
            print(refusal)
    print("=== 自测通过 ===")
