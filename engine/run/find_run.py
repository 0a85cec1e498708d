"""Runs by name or path, the list of runs in a folder, and logs of other programs by path.

Every command and screen finds what it opens here; `engine.run.reader` opens it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_dir_error import RunDirError


def list_runs(runs_dir: Path | str) -> list[RunDir]:
    """All readable runs in a folder, the most recently started first."""
    started: list[tuple[float, RunDir]] = []
    for run in run_folders(runs_dir):
        with suppress(RunDirError):
            started.append((run.read_info().started, run))
    started.sort(key=lambda item: item[0], reverse=True)
    return [run for _, run in started]


def run_folders(runs_dir: Path | str) -> list[RunDir]:
    """The folders that hold a run.json, or may, in no order; one may be unreadable."""
    root = Path(runs_dir)
    try:
        found = [RunDir(path) for path in root.iterdir() if not path.name.startswith(".")]
    except OSError:
        return []
    return [run for run in found if _may_be_a_run(run)]


def _may_be_a_run(run: RunDir) -> bool:
    try:
        run.info_file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return run.path.is_dir()
    return True


def find_run(name: str | None, runs_dir: Path | str) -> RunDir:
    """The run `name` (a name under `runs_dir`, or a path), or for None the newest one.

    Raises RunDirError if there is no such run.
    """
    if name is None:
        runs = list_runs(runs_dir)
        if not runs:
            raise RunDirError(
                "{runs_dir}: holds no runs; start one with `lmm-tui launch`, or give --runs-dir",
                runs_dir=runs_dir,
            )
        return runs[0]
    inside = Path(runs_dir) / name
    candidate = RunDir(inside if inside.is_dir() else Path(name))
    if not candidate.path.is_dir():
        raise RunDirError(
            "{name}: no such run in {runs_dir}; `lmm-tui runs` lists them",
            name=name,
            runs_dir=runs_dir,
        )
    candidate.read_info()
    return candidate


def find_path(name: str | None, runs_dir: Path) -> Path:
    """A run directory or a foreign log that `Reader` can open; None finds the newest run.

    Raises RunDirError or UnknownLogError if there is neither.
    """
    if name is None:
        return find_run(name, runs_dir).path
    for path in (runs_dir / name, given_path(name)):
        if RunDir(path).exists():
            return find_run(str(path), runs_dir).path
    # The readers of all formats, and numpy: a fifth of what a run of ours takes to open.
    from lmm_tui.metrics.readers.foreign import UnknownLogError, resolve

    for path in (given_path(name), runs_dir / name):
        if is_foreign(path):
            return path
        if path.is_dir():
            resolve(path)  # Says what was looked for.
    if len(Path(name).parts) > 1:
        raise UnknownLogError("{name}: no such file or folder; give a log or a run", name=name)
    return find_run(name, runs_dir).path


def is_foreign(path: Path) -> bool:
    """Whether a path may be a log of another program rather than a run directory."""
    if RunDir(path).exists():
        return False
    from lmm_tui.metrics.readers.foreign import is_log

    return is_log(path)


def holds_runs(path: Path) -> bool:
    """Whether a path is no run but holds logs of several."""
    if RunDir(path).exists():
        return False
    from lmm_tui.metrics.readers.log_folders import runs_at

    return len(runs_at(path)) > 1


def given_path(name: str) -> Path:
    """A path as a person writes it; `~` is the home folder."""
    try:
        return Path(name).expanduser()
    except RuntimeError:  # There is no such user.
        return Path(name)


def run_or_path(name: str, runs_dir: Path | str) -> Path:
    """`name` as a run in `runs_dir` if there is one, else as a path (a checkpoint, a file, …)."""
    inside = Path(runs_dir) / name
    return inside if inside.is_dir() else Path(name)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        print(list_runs(folder), is_foreign(Path(__file__)))
    print("=== 自测通过 ===")
