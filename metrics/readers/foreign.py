"""Logs of other people's training, followed like our own: what a path is, is found out here.

A file is known by its content, a folder by the logs in it. A run directory of ours is recognised
elsewhere.
"""

from __future__ import annotations

from pathlib import Path

from lmm_tui.errors import LmmError
from lmm_tui.metrics.readers.event_files import EventReader, find_event_files
from lmm_tui.metrics.readers.log_facts import LogFacts
from lmm_tui.metrics.readers.log_folders import log_in, logs_below, newest_first
from lmm_tui.metrics.readers.log_follower import LogFollower
from lmm_tui.metrics.readers.log_formats import Head, LogFormat, format_of
from lmm_tui.metrics.readers.metric_names import MetricNamer
from lmm_tui.metrics.readers.unread import not_a_log
from lmm_tui.metrics.series.series import SeriesStore


class UnknownLogError(LmmError):
    """A path that is no log we can read."""


def open_log(path: Path, store: SeriesStore) -> LogFollower:
    """A follower that keeps `store` up to date with the log at `path`, a file or a folder.

    Raises UnknownLogError where `path` is nothing that can be read.
    """
    if not path.exists():
        raise UnknownLogError(f"{path}: no such file or folder; give a log or a run")
    path = resolve(path)
    if path.is_dir():
        return EventReader(lambda: find_event_files(path), store, MetricNamer())
    return FileFollower(path, store, _format_of(path))


def _format_of(path: Path) -> LogFormat:
    try:
        head = Head.of(path)
    except OSError as error:
        raise UnknownLogError(f"{path}: cannot be read: {error.strerror}") from None
    known = format_of(head)
    wrong = not_a_log(head, known)
    if wrong or known is None:
        raise UnknownLogError(f"{path}: {wrong}")
    return known


class FileFollower:
    """Keeps a store up to date with a file, whose format is looked at until it has a row."""

    def __init__(self, path: Path, store: SeriesStore, known: LogFormat) -> None:
        self._path = path
        self._store = store
        self._format = known
        self._follower = known.follow(path, store)

    @property
    def bad_lines(self) -> int:
        """What could not be read, counted."""
        return self._follower.bad_lines

    @property
    def behind(self) -> bool:
        """Whether more is there than has been read so far."""
        return self._follower.behind

    @property
    def notes(self) -> list[str]:
        """What of the log is not in the series as it stands there, as sentences."""
        return list(self._follower.notes)

    @property
    def format(self) -> str:
        """The name of the format."""
        return self._format.name

    @property
    def facts(self) -> LogFacts:
        """What the log says of its run beside the rows."""
        return self._follower.facts

    def poll(self, budget_s: float | None = None) -> bool:
        """Read what is new, for at most about `budget_s` seconds; True where that was anything."""
        changed = self._follower.poll(budget_s)
        if changed or len(self._store) or self._follower.behind:
            return changed
        try:
            known = _format_of(self._path)
        except UnknownLogError:
            return changed
        if known is self._format:
            return changed
        self._format, self._follower = known, known.follow(self._path, self._store)
        return self._follower.poll(budget_s)


def resolve(path: Path) -> Path:
    """The log that a path stands for: a file, or a folder of event files.

    Raises UnknownLogError for a folder without a log, or with those of several runs.
    """
    if not path.is_dir():
        return path
    found = log_in(path)
    if found is not None:
        return found
    below = logs_below(path)
    if len(below) == 1:
        return below[0]
    if below:
        shown = ", ".join(str(log.relative_to(path)) for log in newest_first(below)[:_SHOWN])
        raise UnknownLogError(
            f"{path}: holds {len(below)} runs; give one of them, the newest first: {shown}"
        )
    raise UnknownLogError(
        f"{path}: holds no log; looked for event files, trainer_state.json, JSON lines, CSV, "
        "W&B runs and console output here and in the folders below; give a file"
    )


def is_log(path: Path) -> bool:
    """Whether a path may be a log: any file, or a folder with one here or below."""
    return path.is_file() or (
        path.is_dir() and (log_in(path) is not None or bool(logs_below(path)))
    )


def log_of(path: Path) -> Path:
    """The file whose age tells whether the log at `path` is still written."""
    try:
        path = resolve(path)
    except UnknownLogError:
        return path
    events = find_event_files(path) if path.is_dir() else []
    return events[-1] if events else path


_SHOWN = 5

if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "version_0" / "metrics.csv"
        file.parent.mkdir()
        file.write_text("epoch,step,train_loss,val_loss\n0,9,2.5,\n0,9,,2.75\nbroken\n")
        series = SeriesStore()
        follower = open_log(Path(folder), series)
        assert follower.poll() and not follower.poll()
        print(series.names(), series.last_step, "bad lines:", follower.bad_lines)
        assert len(series) == 1 and follower.bad_lines == 1
    print("=== 自测通过 ===")
