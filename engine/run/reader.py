"""Reader, the reading side of a run directory: status, curves, events, samples, and commands.

    from lmm_tui import Reader

    run = Reader("runs/mine")
    run.poll()
    loss = run["train/loss"]
    print(run.view.state, run.view.status.step, loss.steps, loss.values)

Cockpit, commands, the mirror over ssh and notebooks read through the same class. Everything comes
from the directory, so runs in this process, in another one, and finished runs look the same.
Commands go over the run's control socket. A log of another program is read as a run that takes no
commands; its state is that of a file, unless the log says how the run ended.

What only reads `view` imports no numpy.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmm_tui.engine.run import control_client
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.control_protocol import ControlError
from lmm_tui.engine.run.find_run import find_path, is_foreign
from lmm_tui.engine.run.run_dir import RUNS_DIR, RunDir
from lmm_tui.engine.run.run_dir_error import RunDirError
from lmm_tui.engine.run.run_records import ATTACHABLE_STATES, RunInfo, RunStatus
from lmm_tui.guarded_files import version_of
from lmm_tui.message import Message
from lmm_tui.metrics import names

if TYPE_CHECKING:
    from lmm_tui.engine.run.events import RunEvent
    from lmm_tui.engine.run.history import RunHistory
    from lmm_tui.engine.run.samples import RunSample
    from lmm_tui.metrics.readers.foreign import OpenLog
    from lmm_tui.metrics.readers.json_lines import MetricsFollower
    from lmm_tui.metrics.series.series import Series, SeriesStore

LOG_FILE = "log file"
"""The state of a log that does not say whether its run has ended."""

_GROWING = ("starting", "running", "stopping", "restarting")
_STATE_CHECK_S = 1.0


@dataclass(frozen=True)
class RunView:
    """A snapshot of a run; `state` may also be `stale`, `crashed`, `restarting` or LOG_FILE."""

    info: RunInfo
    status: RunStatus
    state: str
    log_format: str = ""
    """Of a log of another program: what it is read as."""
    spent_s: float = 0.0
    """From the first to the last time in such a log; 0 where it has none."""

    @property
    def active(self) -> bool:
        """Whether it can be steered."""
        return not self.log_format and self.state in ATTACHABLE_STATES

    @property
    def growing(self) -> bool:
        """Whether rows, or more values of the last one, are to be expected now."""
        if self.state == LOG_FILE:
            from lmm_tui.metrics.readers.log_lines import SILENT_S

            return time.time() - self.status.heartbeat < SILENT_S
        return self.state in _GROWING

    @property
    def progress(self) -> float:
        """Fraction of the steps done, 0 to 1."""
        total = self.status.total_steps
        return min(self.status.step / total, 1.0) if total else 0.0


class Reader:
    """Follows a run: call `poll`, then read the attributes. Not thread-safe, except for `send`."""

    def __init__(self, path: Path | str) -> None:
        """Raises RunDirError or UnknownLogError if there is nothing to read at `path`."""
        self.run_dir = RunDir(path)
        self.foreign = is_foreign(self.run_dir.path)
        """Whether this is a log of another program."""
        self._log: OpenLog | None = None
        if self.foreign:
            from lmm_tui.metrics.readers.foreign import open_log

            self._log = open_log(self.run_dir.path, self.series)
        self._stamps: tuple[object, ...] = ()
        self._looked = 0.0
        self.away = ""
        """Why the directory cannot be read at present, as where a network drive is gone."""
        self.view: RunView = self.look()

    @classmethod
    def find(cls, name: str | None = None, runs_dir: Path | str = RUNS_DIR) -> Reader:
        """The run of that name, the newest one, or a log at that path; raises as `Reader`."""
        return cls(find_path(name, Path(runs_dir)))

    @cached_property
    def series(self) -> SeriesStore:
        """All metrics, of what is polled."""
        from lmm_tui.metrics.series.series import SeriesStore

        return SeriesStore()

    def __getitem__(self, name: str) -> Series:
        """The curve of a metric, with `steps`, `times`, `tokens` and `values` as numpy arrays."""
        found = self.series.get(name)
        if found is None:
            known = ", ".join(self.series.names()) or "none yet; call poll()"
            raise KeyError(f"no metric is called {name!r}; there are: {known}")
        return found

    @cached_property
    def history(self) -> RunHistory:
        from lmm_tui.engine.run.history import RunHistory

        return RunHistory(self.run_dir)

    @property
    def events(self) -> list[RunEvent]:
        """What happened, the oldest first, as polled; those of abandoned steps are marked."""
        return self.history.events

    @property
    def samples(self) -> list[RunSample]:
        return self.history.samples

    @cached_property
    def _metrics(self) -> OpenLog | MetricsFollower:
        from lmm_tui.metrics.readers.json_lines import MetricsFollower

        return self._log or MetricsFollower(self.run_dir.metrics, self.series)

    @property
    def unreadable_lines(self) -> int:
        """Number of lines in the run's files that could not be parsed."""
        return self._metrics.bad_lines + self.history.bad_lines

    @property
    def notes(self) -> list[str]:
        """What of a foreign log is not in the series as it stands there, as sentences."""
        return self._log.notes if self._log else []

    @property
    def nothing_read(self) -> str:
        """Why there are no metrics, as a sentence."""
        path = self.run_dir.path
        if self._log is None:
            return f"{path}: no metrics yet; wait for the first step"
        from lmm_tui.metrics.readers.unread import nothing_read

        file = self._log.first_file
        return f"{file}: {nothing_read(file, self.view.growing)}"

    def poll(self, budget_s: float | None = None) -> bool:
        """Read new data for at most about `budget_s` seconds; returns whether anything changed."""
        before = self.view, self.away
        changed = before != (self.look(), self.away)
        events, samples = self.history.poll(budget_s)
        return self._metrics.poll(budget_s) or changed or bool(events or samples)

    @property
    def loading(self) -> bool:
        """Whether the metrics file has rows not read yet."""
        return self._metrics.behind or self.history.behind

    def send(
        self,
        command: str,
        args: Mapping[str, Any] | None = None,
        timeout_s: float = 600.0,
        *,
        by: str = "",
    ) -> Reply:
        """Send a command and wait for the reply; a failure to send is a Reply too, with `ok` False.

        Blocks until the command is done, so screens call it from a thread.
        """
        if self.foreign:
            return Reply(
                False, Message("a foreign log takes no commands: cannot {command}", command=command)
            )
        if not self.view.active:
            return Reply(
                False,
                Message(
                    "the run is {state}: nothing left to {command}",
                    state=Message(self.view.state),
                    command=command,
                ),
            )
        try:
            path = self.run_dir.listening_at(self.view.info)
            return control_client.send(path, command, args, timeout_s, by=by)
        except ControlError as error:
            return Reply(False, str(error))

    def look(self) -> RunView:
        """Bring `view` up to date and return it; no metrics are read.

        Reads the files if they were replaced, and checks the process at most once a second, so
        that an idle run is cheap.
        """
        if self._log is not None:
            self.view = view_of_log(self.run_dir.path, self._log, self.series)
            return self.view
        now = time.monotonic()
        run = self.run_dir
        stamps = version_of(run.info_file), version_of(run.status_file)
        if stamps == self._stamps and now - self._looked < _STATE_CHECK_S:
            return self.view
        restarted = self.view.state == "restarting" if self._stamps else False
        if stamps == self._stamps and None not in stamps and not restarted:
            info, status = self.view.info, self.view.status
        else:
            info, status = self._read_records()
        self._stamps, self._looked = stamps, now
        state = run.derived_state(info, status)
        if state == "restarting":
            count = run.restart_count()
            status = replace(status, activity=Message("restarting {count}", count=count))
        self.view = RunView(info, status, state)
        return self.view

    def _read_records(self) -> tuple[RunInfo, RunStatus]:
        """Those of the directory, or while it is away the last ones."""
        if not self._stamps:
            return self.run_dir.read_info(), self.run_dir.read_status()
        try:
            info = self.run_dir.read_info()
        except RunDirError as error:
            self.away = str(error)
            return self.view.info, self.view.status
        self.away = ""
        return info, self.run_dir.read_status(self.view.status)


def view_of_log(path: Path, log: OpenLog, series: SeriesStore) -> RunView:
    """The view of a log of another program, from its file, its rows and what it says of its end."""
    from lmm_tui.metrics.readers.log_lines import SILENT_S

    written, facts = log.written, log.facts
    state: str = facts.end or LOG_FILE
    if not facts.end and facts.tells_end:
        state = "running" if time.time() - written < SILENT_S else "crashed"
    begun, last = written, written
    if len(series) and series.known("time").any():
        begun, last = series.span("time")
    tokens = int(series.span("tokens")[1]) if len(series) else 0
    loss, val_loss = series.get(names.TRAIN_LOSS), series.get(names.VAL_LOSS)
    status = RunStatus(
        state,
        series.last_step or 0,
        facts.total_steps,
        tokens,
        heartbeat=written,
        loss=loss.last_value if loss else None,
        val_loss=val_loss.last_value if val_loss else None,
        error=facts.error,
    )
    info = RunInfo(path.resolve().name, "", begun, begun, "", 0, 0.0)
    return RunView(info, status, state, log.format, last - begun)


if __name__ == "__main__":
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".log", buffering=1) as log:
        log.write("step: 1, loss: 2.5\nstep: 2, loss: 2.25\n")
        session = Reader(log.name)
        print(session.poll(), session.view.state, session.series.names())
    print("=== 自测通过 ===")
