"""Run, the writing side of a run directory: all that a loop needs to be watched and steered.

Our own trainer and the scripts of others (`lmm_run`) write through the same class: identity,
status, events, metrics and samples on disk, a mailbox and its socket for commands. What a loop can
do on a command it registers in `commands`. `engine.run.reader` is the reading side. Torch-free.
"""

from __future__ import annotations

import fcntl
import os
import platform
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar

import psutil

from lmm_tui.engine.run.command_server import CommandServer
from lmm_tui.engine.run.control_mailbox import Mailbox
from lmm_tui.engine.run.control_server import listen
from lmm_tui.engine.run.environment import command_line, git_state
from lmm_tui.engine.run.events import EventLog
from lmm_tui.engine.run.jsonl_writer import JsonlWriter
from lmm_tui.engine.run.output_log import logging_to
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_dir_error import RunDirError, writing
from lmm_tui.engine.run.run_records import RunInfo, RunStatus
from lmm_tui.engine.run.samples import RunSample
from lmm_tui.engine.run.status_writer import StatusWriter
from lmm_tui.message import Message, os_reason
from lmm_tui.metrics.tracker import TrainingTracker

OnRow = Callable[[int, Mapping[str, float]], object]
"""Called with the step and the numbers of a row that was just written."""
_Self = TypeVar("_Self", bound="Run")


def identify(
    name: str,
    stage: str,
    before: RunInfo | None = None,
    *,
    packages: Mapping[str, str] | None = None,
    **more: Any,
) -> RunInfo:
    """The identity of a run that this process begins, or resumes where there is one `before`.

    `packages` are those that matter to it, with their versions.
    """
    now = time.time()
    return RunInfo(
        name=name,
        stage=stage,
        created=before.created if before else now,
        started=now,
        host=socket.gethostname(),
        pid=os.getpid(),
        pid_started=psutil.Process().create_time(),
        resumed_steps=before.resumed_steps if before else [],
        versions={"python": platform.python_version(), **(packages or {})},
        command=command_line(),
        git=git_state(),
        **more,
    )


class Run:
    """One run, from its first file to its last; used in one thread, but for `commands.mailbox`.

    `closed` once it has ended; `close` ends it, as does leaving a `with` block.
    """

    leads = True
    """Whether it is this process that writes the run; of several ranks one does."""

    def __init__(
        self,
        run_dir: RunDir,
        info: RunInfo,
        status: RunStatus,
        *,
        config: str = "",
        log_output: bool = False,
        needs_socket: bool = True,
        tensorboard: bool = True,
        likelihood: bool = True,
    ) -> None:
        """`config` is the text of config.toml; `log_output` writes output.log; without
        `needs_socket` a run that gets none takes no commands; `likelihood` as `TrainingTracker`.

        Raises RunDirError if the directory is in use or cannot be written, ControlError without a
        socket; nothing of an existing run is changed then.
        """
        self.run_dir = run_dir
        self.info: RunInfo
        self.events: EventLog
        self.status: StatusWriter
        self.metrics: TrainingTracker
        self.commands: CommandServer
        self.closed = False
        self.failed = False
        run_dir.create()
        with ExitStack() as opened:
            opened.enter_context(_locked(run_dir))
            mailbox = Mailbox()
            # Before any file: a run that gets no socket is refused, and its name must stay free.
            server, no_socket = listen(mailbox, run_dir, needs_socket)
            if server:
                opened.callback(server.close)
            self.info = replace(info, socket=str(server.path) if server else "")
            with writing(run_dir.path):
                if log_output:
                    opened.enter_context(logging_to(run_dir.output))
                self.events = EventLog(run_dir)
                opened.callback(self.events.close)
                self._samples = JsonlWriter(run_dir.samples)
                opened.callback(self._samples.close)
                self.metrics = TrainingTracker(
                    run_dir.path, tensorboard=tensorboard, likelihood=likelihood
                )
                opened.callback(self.metrics.close)
                if config:
                    run_dir.write_config(config)
                run_dir.write_info(self.info)
            self.status = StatusWriter(run_dir, status)
            self.commands = CommandServer(mailbox, self.events, self.status)
            self._opened = opened.pop_all()
        self._on_row: list[OnRow] = []
        self._on_close: list[Callable[[], object]] = []
        if no_socket:
            self.alert(no_socket)

    @property
    def step(self) -> int:
        """The step that the status shows."""
        return self.status.status.step

    @property
    def in_own_process(self) -> bool:
        """Whether this is the process that made it, and no fork of that."""
        return os.getpid() == self.info.pid

    def on_row(self, called: OnRow) -> None:
        """Call it with each row of metrics that is written."""
        self._on_row.append(called)

    def on_close(self, called: Callable[[], object]) -> None:
        """Call it first when the run ends; the last one given comes first."""
        self._on_close.insert(0, called)

    def tell_row(self, step: int, row: Mapping[str, float]) -> None:
        """Say that a row was written to `metrics`."""
        for called in self._on_row:
            called(step, row)

    def add_sample(self, sample: RunSample) -> None:
        self._samples.write(sample.record())

    def alert(self, text: str, *, level: str = "warning", **details: Any) -> None:
        """Write an alert at the present step."""
        self.events.write("alert", text, step=self.step, level=level, **details)  # type: ignore[arg-type]

    def describe(self, **changes: Any) -> None:
        """Add to run.json what is known only later."""
        self.info = replace(self.info, **changes)
        try:
            self.run_dir.write_info(self.info)
        except OSError as error:
            self.alert(
                Message(
                    "run.json cannot be written ({error}): it lacks {changes}",
                    error=os_reason(error),
                    changes=[*changes],
                )
            )

    def resume_after(self, step: int, said: str, **details: Any) -> None:
        """Record that the run continues after `step`: readers drop what came later before."""
        self.describe(resumed_steps=[*self.info.resumed_steps, step])
        self.events.write("resume", said, step=step, **details)

    def fail(self, sentence: str, details: str = "") -> None:
        """Record the error that ends it; `details` is a traceback."""
        self.failed = True
        self.events.write("error", sentence, step=self.step, level="error", traceback=details)
        self.status.update(error=sentence)

    def close(self, error: BaseException | None = None) -> None:
        """End it: `failed` with an error, `stopped` where a command or Ctrl-C asked, `finished`.

        Without effect on a run that has ended, and in a forked child.
        """
        if self.closed or not self.in_own_process:
            return
        self.closed = True
        if error is not None and not _is_exit(error):
            self.fail(failure(error), "".join(traceback.format_exception(error)))
        stopped = isinstance(error, KeyboardInterrupt) or self.commands.stop is not None
        state = "failed" if self.failed else "stopped" if stopped else "finished"
        for called in self._on_close:
            called()
        self.metrics.close()  # Before its end is told.
        self.status.update(state=state, activity="", eta_s=None)
        self.events.write("end", Message(state), step=self.step)
        self.status.close()
        self.commands.close()
        self._opened.close()
        self._on_row.clear()  # They hold the model, too.
        self._on_close.clear()

    def __reduce__(self) -> str:
        raise RunDirError(
            "{name}: a run cannot be sent to another process; make it in the "
            "process that trains, on every rank",
            name=self.run_dir.name,
        )

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close(error)


def failure(error: BaseException) -> Message:
    """An unexpected error in a sentence."""
    return Message("{name}: {error}", name=type(error).__name__, error=error)


def _is_exit(error: BaseException) -> bool:
    """Whether it is no failure: Ctrl-C, or an exit with code 0."""
    clean = isinstance(error, SystemExit) and error.code in (None, 0)
    return clean or isinstance(error, KeyboardInterrupt)


@contextmanager
def _locked(run_dir: RunDir) -> Iterator[None]:
    with run_dir.lock() as lock:
        yield
        # A forked child that is still alive holds a copy of the file: closing would not unlock it.
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_UN)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        place = RunDir(f"{folder}/demo")
        with Run(place, identify("demo", "script"), RunStatus("running"), tensorboard=False) as run:
            run.metrics.update_loss(2.5)
            run.tell_row(1, run.metrics.log(1))
            run.status.update(step=1)
        print(place.read_status().state, place.metrics.read_text())
    print("=== 自测通过 ===")
