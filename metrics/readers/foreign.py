"""Logs of other people's training, followed like our own: what a path is, is found out here.

A file is known by its content, a folder by the logs in it. A run directory of ours is recognised
elsewhere.
"""

from __future__ import annotations

from pathlib import Path

from lmm_tui.errors import LmmError
from lmm_tui.message import Message, os_reason
from lmm_tui.metrics.readers.event_files import sources_in
from lmm_tui.metrics.readers.log_facts import LogFacts
from lmm_tui.metrics.readers.log_folders import (
    last_written,
    logs_below,
    logs_in,
    newest_first,
    runs_at,
)
from lmm_tui.metrics.readers.log_formats import EVENT_FOLDER, Head, LogFormat, format_of
from lmm_tui.metrics.readers.metric_names import common_names
from lmm_tui.metrics.readers.trackio_log import database_of, run_at
from lmm_tui.metrics.readers.unread import not_a_log
from lmm_tui.metrics.series.series import SeriesStore


class UnknownLogError(LmmError):
    """A path that is no log we can read."""


def open_log(path: Path, store: SeriesStore) -> OpenLog:
    """A follower that keeps `store` up to date with the log at `path`, a file or a folder.

    Raises UnknownLogError where `path` is nothing that can be read, NamesFileError where names of
    the user's are not.
    """
    if not path.exists() and run_at(path) is None:
        raise UnknownLogError("{path}: no such file or folder; give a log or a run", path=path)
    common_names()  # A file of the user's that cannot be used is refused here.
    log = resolve(path)
    return OpenLog(log, store, _format_of(log), path if path.is_dir() else None)


def _format_of(path: Path) -> LogFormat:
    if path.is_dir():
        return EVENT_FOLDER
    try:
        head = Head.of(database_of(path) or path)
    except OSError as error:
        raise UnknownLogError(
            "{path}: cannot be read: {error}", path=path, error=os_reason(error)
        ) from None
    known = format_of(head)
    wrong = not_a_log(head, known)
    if wrong or known is None:
        raise UnknownLogError("{path}: {wrong}", path=path, wrong=wrong)
    return known


class OpenLog:
    """Keeps a store up to date with a log, whose format is looked at until it has a row."""

    def __init__(
        self, path: Path, store: SeriesStore, known: LogFormat, folder: Path | None = None
    ) -> None:
        """`folder` is the one that was asked for: what else is in it is said."""
        self.file = path
        """What is read, a file or a folder."""
        others = [] if folder is None else logs_below(folder)
        # A file of the same name is another part of the same run of W&B's.
        self._others = [
            str(log.relative_to(folder))
            for log in others
            if folder and log != path and not (log.suffix == ".wandb" and log.name == path.name)
        ]
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
        warnings = list(self._follower.notes)
        if more := len(self._others):
            first = [*self._others[:_SHOWN]]
            warnings.append(
                Message("{more} more runs in the folders below: {first}", more=more, first=first)
            )
        return warnings

    @property
    def first_file(self) -> Path:
        """The first file that is read."""
        sources = sources_in(self.file) if self.file.is_dir() else []
        return sources[0].path if sources else self.file

    @property
    def written(self) -> float:
        """When the log was written last, in Unix seconds; 0 where that is not known."""
        return last_written(self.file)

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
            known = _format_of(self.file)
        except UnknownLogError:
            return changed
        if known is self._format:
            return changed
        self._format, self._follower = known, known.follow(self.file, self._store)
        return self._follower.poll(budget_s)


def resolve(path: Path) -> Path:
    """The log that a path stands for: a file, a folder of event files, a run in a database.

    Raises UnknownLogError where there is none, or where there are several runs.
    """
    if path.is_dir():
        here = logs_in(path)
        found = here or logs_below(path)
    else:
        found = runs_at(path) or [path]
    if not found:
        raise UnknownLogError(
            "{path}: holds no log; looked for event files, trainer_state.json, "
            "JSON lines, CSV, W&B runs, trackio databases and console output "
            "here and in the folders below; give a file",
            path=path,
        )
    if len(found) > 1:
        shown = ", ".join(_inside(log, path) for log in newest_first(found)[:_SHOWN])
        raise UnknownLogError(
            "{path}: holds {found} runs; give one of them, the newest first: {shown}",
            path=path,
            found=len(found),
            shown=shown,
        )
    return found[0]


def _inside(log: Path, path: Path) -> str:
    return str(log.relative_to(path)) if path.is_dir() else str(log)


def is_log(path: Path) -> bool:
    """Whether a path may be a log or logs: any file, a run in a database, a folder with one."""
    return path.is_file() or run_at(path) is not None or (path.is_dir() and bool(runs_at(path)))


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
