"""Find a run by name or path, or a foreign log by path."""

from __future__ import annotations

from pathlib import Path

from lmm_tui.engine.run.find_run import find_run
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.metrics.readers.foreign import is_log


def find_path(name: str | None, runs_dir: Path) -> Path:
    """A run directory or a foreign log that `RunSession` can open; None finds the newest run.

    Raises RunDirError if there is neither.
    """
    if name is not None and not (runs_dir / name).is_dir() and is_foreign(Path(name)):
        return Path(name)
    return find_run(name, runs_dir).path


def is_foreign(path: Path) -> bool:
    """Whether a path may be a log of another program rather than a run directory."""
    return not RunDir(path).exists() and is_log(path)


if __name__ == "__main__":
    print(is_foreign(Path(__file__)), is_foreign(Path(__file__).parent))
    print("=== 自测通过 ===")
