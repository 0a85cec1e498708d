"""The runs in a database of trackio, followed while it is written, without trackio.

A file holds the runs of a project; one of several is named behind it, as in `project.db/run-name`.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lmm_tui.guarded_files import reading
from lmm_tui.message import Message
from lmm_tui.metrics.readers.json_log import flat, time_in, value_in
from lmm_tui.metrics.readers.log_facts import LogFacts
from lmm_tui.metrics.readers.log_row import LogRow
from lmm_tui.metrics.readers.metric_names import MetricNamer
from lmm_tui.metrics.readers.place_rows import RowPlacer
from lmm_tui.metrics.readers.system_samples import SystemSamples
from lmm_tui.metrics.series.row_values import whole_step
from lmm_tui.metrics.series.series import SeriesStore

MAGIC = b"SQLite format 3\0"
_WAIT_S = 1.0
_MOST_REREADS = 8
_ROWS = 20_000


@dataclass(frozen=True)
class TrackioRun:
    """A run in a database: `column` is the one that tells runs apart, `key` its value there."""

    name: str
    column: str
    key: str


def database_of(path: Path) -> Path | None:
    """The database that a path is, or has in front of the name of a run; None where it is none."""
    for file in (path, path.parent):
        try:
            with reading(file) as opened:
                if opened.read(len(MAGIC)) == MAGIC:
                    return file
        except OSError:
            continue
    return None


def runs_in(database: Path) -> list[TrackioRun]:
    """The runs in a database, in the order in which they began; none where it is another one's."""
    try:
        with closing(_open(database)) as opened:
            names = {str(row[1]) for row in opened.execute("PRAGMA table_info(metrics)")}
            if not {"run_name", "step", "metrics", "timestamp"} <= names:
                return []
            column = "run_id" if "run_id" in names else "run_name"
            found = opened.execute(
                f"SELECT {column}, run_name FROM metrics GROUP BY {column} ORDER BY MIN(id)"
            ).fetchall()
    except sqlite3.Error:
        return []
    shared = Counter(str(name) for _, name in found)
    return [
        TrackioRun(
            str(name) if shared[str(name)] == 1 else f"{name}-{str(key)[:8]}", column, str(key)
        )
        for key, name in found
    ]


def run_at(path: Path) -> TrackioRun | None:
    """The run that a path names; None where there is none, or where a database holds several."""
    database = database_of(path)
    if database is None:
        return None
    runs = runs_in(database)
    if database == path:
        return runs[0] if len(runs) == 1 else None
    return next((run for run in runs if run.name == path.name), None)


def _open(database: Path) -> sqlite3.Connection:
    """For reading only; what is in the file is not trusted."""
    opened = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=_WAIT_S)
    opened.execute("PRAGMA trusted_schema = OFF")
    opened.text_factory = lambda data: data.decode("utf-8", "replace")
    return opened


class TrackioFollower:
    """Keeps a store up to date with a run of a database."""

    def __init__(self, path: Path, store: SeriesStore) -> None:
        self.behind = False
        """Whether there are more rows than have been read so far."""
        self.facts = LogFacts()
        self._path = path
        self._store = store
        self._namer = MetricNamer()
        self._rereads = 0
        self._seen: tuple[tuple[int, int] | None, ...] = ()
        self._begin()

    def _begin(self) -> None:
        self._store.clear()
        self._namer.restart()
        self._placer = RowPlacer(self._store, self._namer)
        self._samples = SystemSamples()
        self._last_row = self._last_sample = 0
        self.bad_lines = 0
        """Rows that could not be read, and attempts to read the database that failed."""

    @property
    def notes(self) -> list[str]:
        """What of the log is not in the series as it stands there, as sentences."""
        warnings = self._placer.notes
        if count := self._samples.left_out:
            warnings.append(
                Message(
                    "{count} system values left out: a later one is at the same step", count=count
                )
            )
        return warnings

    def poll(self, budget_s: float | None = None) -> bool:
        """Read what is new, whatever the budget; True where that was anything."""
        del budget_s
        before = self._store.version, self.bad_lines
        database, run = database_of(self._path), run_at(self._path)
        if database is None or run is None:
            return False
        seen = tuple(map(_version, (database, Path(f"{database}-wal"))))
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            with closing(_open(database)) as opened:
                self._read_samples(opened, run)
                while self._read_rows(opened, run):
                    pass
        except sqlite3.Error:
            self.bad_lines += 1
        return (self._store.version, self.bad_lines) != before

    def _read_rows(self, opened: sqlite3.Connection, run: TrackioRun) -> bool:
        """Whether there may be more."""
        found = opened.execute(
            f"SELECT id, timestamp, step, metrics FROM metrics WHERE {run.column} = ? AND id > ? "
            f"ORDER BY id LIMIT {_ROWS}",
            (run.key, self._last_row),
        ).fetchall()
        rows = []
        for number, at, step, metrics in found:
            self._last_row = number
            values = _values(metrics)
            if values is None or whole_step(step) is None:
                self.bad_lines += 1
                continue
            rows.append(LogRow(values, whole_step(step), time=time_in(at)))
        self._samples.into(rows)
        self.bad_lines += self._placer.add(rows)
        if self._namer.contested and self._rereads < _MOST_REREADS:
            self._rereads += 1
            self._begin()
            self._read_samples(opened, run)
            return True
        return len(found) == _ROWS

    def _read_samples(self, opened: sqlite3.Connection, run: TrackioRun) -> None:
        names = {str(row[1]) for row in opened.execute("PRAGMA table_info(system_metrics)")}
        if run.column not in names:
            return
        for number, at, metrics in opened.execute(
            f"SELECT id, timestamp, metrics FROM system_metrics WHERE {run.column} = ? AND id > ?",
            (run.key, self._last_sample),
        ):
            self._last_sample = number
            self._samples.add(time_in(at) or 0.0, _values(metrics) or {})


def _values(metrics: object) -> dict[str, float] | None:
    """The numbers in a JSON object; None where it is none."""
    try:
        found = json.loads(metrics) if isinstance(metrics, str) else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    named = flat(found)
    return {
        name: value
        for name, given in named.items()
        if not name.startswith("_") and (value := value_in(name, given)) is not None
    }


def _version(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        demo = Path(folder) / "demo.db"
        with closing(sqlite3.connect(demo)) as made:
            made.execute("CREATE TABLE metrics (id INTEGER PRIMARY KEY, timestamp TEXT, "
                         "run_name TEXT, step INTEGER, metrics TEXT)")  # fmt: skip
            rows = [("2026-01-01T00:00:00+00:00", run, 5, '{"loss": 2.5}') for run in "ab"]
            made.executemany(
                "INSERT INTO metrics (timestamp, run_name, step, metrics) VALUES (?, ?, ?, ?)", rows
            )
            made.commit()
        series = SeriesStore()
        follower = TrackioFollower(demo / "b", series)
        assert run_at(demo) is None and follower.poll() and not follower.poll()
        print(runs_in(demo), series.names(), series.last_step, series.span("time"))
        assert series.names() == ["train/loss"] and series.span("time")[0] == 1767225600.0
    print("=== 自测通过 ===")
