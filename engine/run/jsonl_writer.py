"""Appending to the JSON-lines files of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmm_tui.engine.run.run_dir_error import writing
from lmm_tui.message import with_parts
from lmm_tui.metrics.values import strict
from lmm_tui.metrics.writers.line_file import LineFile, NoFile


class JsonlWriter:
    """Appends JSON objects, one a line, each flushed; a torn last line is ended first.

    While the disk is full or hangs, lines wait in memory (see `LineFile`). RunDirError if the
    file cannot be opened. Without a path nothing is written.
    """

    def __init__(self, path: Path | None) -> None:
        self._file: LineFile | NoFile = NoFile()
        if path is not None:
            with writing(path):
                self._file = LineFile(path)

    def write(self, record: Mapping[str, Any]) -> None:
        line = json.dumps(
            strict(with_parts(record)), ensure_ascii=False, allow_nan=False, default=str
        )
        self._file.append(line.encode("utf-8", "replace") + b"\n")

    def close(self) -> None:
        self._file.close()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        writer = JsonlWriter(Path(folder) / "demo.jsonl")
        writer.write({"step": 1, "loss": float("nan")})
        writer.close()
        print((Path(folder) / "demo.jsonl").read_text())
    print("=== 自测通过 ===")
