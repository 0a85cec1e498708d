"""The output.log of a run: what the engine logs, without ever holding up training."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lmm_tui.metrics.writers.line_file import LineFile


class OutputLog(logging.Handler):
    """Writes without waiting for the disk, and drops errors of a full one."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = LineFile(path)

    def emit(self, record: logging.LogRecord) -> None:
        self._file.append(self.format(record).encode("utf-8", "replace") + b"\n")

    def close(self) -> None:
        super().close()
        self._file.close()


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Write records of the logger `engine` to `path` while the block lasts."""
    handler = OutputLog(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("engine")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        with logging_to(Path(folder) / "output.log"):
            logging.getLogger("engine").info("step 1")
        print((Path(folder) / "output.log").read_text())
    print("=== 自测通过 ===")
