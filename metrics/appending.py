"""Going on with a file of lines that an earlier process may have left in mid-line."""

from __future__ import annotations

from io import FileIO
from pathlib import Path


def open_for_append(path: Path) -> FileIO:
    """`path`, unbuffered and made where it is not there; an unfinished last line is ended first."""
    file = FileIO(path, "a+")
    if file.tell():
        file.seek(-1, 2)
        if file.read(1) != b"\n":
            file.write(b"\n")
    return file


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        demo = Path(folder, "demo.jsonl")
        demo.write_bytes(b'{"step": 1}\n{"ste')
        for _ in range(2):
            with open_for_append(demo) as file:
                file.write(b'{"step": 2}\n')
        print(demo.read_text())
        assert demo.read_bytes() == b'{"step": 1}\n{"ste\n{"step": 2}\n{"step": 2}\n'
    print("=== 自测通过 ===")
