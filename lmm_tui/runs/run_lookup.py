"""Find a run by name or path, or a foreign log by path."""

from __future__ import annotations

from pathlib import Path

from lmm_tui.engine.run.find_run import find_run
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.metrics.readers.foreign import UnknownLogError, is_log, resolve
from lmm_tui.metrics.readers.log_folders import runs_at


def find_path(name: str | None, runs_dir: Path) -> Path:
    """A run directory or a foreign log that `RunSession` can open; None finds the newest run.

    Raises RunDirError or UnknownLogError if there is neither.
    """
    if name is None:
        return find_run(name, runs_dir).path
    for path in (runs_dir / name, given_path(name)):
        if RunDir(path).exists():
            return find_run(str(path), runs_dir).path
    for path in (given_path(name), runs_dir / name):
        if is_foreign(path):
            return path
        if path.is_dir():
            resolve(path)  # Says what was looked for.
    if len(Path(name).parts) > 1:
        raise UnknownLogError("{name}: no such file or folder; give a log or a run", name=name)
    return find_run(name, runs_dir).path


def given_path(name: str) -> Path:
    """A path as a person writes it; `~` is the home folder."""
    try:
        return Path(name).expanduser()
    except RuntimeError:  # There is no such user.
        return Path(name)


def holds_runs(path: Path) -> bool:
    """Whether a path is no run but holds logs of several."""
    return not RunDir(path).exists() and len(runs_at(path)) > 1


def is_foreign(path: Path) -> bool:
    """Whether a path may be a log of another program rather than a run directory."""
    return not RunDir(path).exists() and is_log(path)


if __name__ == "__main__":
    print(is_foreign(Path(__file__)), is_foreign(Path(__file__).parent))
    print("=== 自测通过 ===")
