"""The cockpit for any training script, in five lines.

    from lmm_tui import lmm_run

    with lmm_run("runs/mine", total_steps=1000) as run:
        for step, batch in enumerate(batches, start=1):
            loss = train_step(batch)
            run.log(step=step, loss=loss)
            if run.should_stop:
                break

It writes a run directory and opens its control socket, so that `lmm-tui monitor` can watch, pause
and stop the script. Torch is not imported; a row costs about 80 µs.

A run belongs to the process that made it. Of several ranks, rank 0 writes and listens.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import platform
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from lmm_tui import __version__
from lmm_tui.engine.health.health_monitor import HealthMonitor
from lmm_tui.engine.instrument.own_paths import (
    remember,
    resumed_path,
    typed_in,
    unused_path,
)
from lmm_tui.engine.instrument.rank_group import Leader, RankGroup, rank_of_process
from lmm_tui.engine.instrument.script_commands import ScriptCommands, ScriptFunctions
from lmm_tui.engine.instrument.script_metrics import ScriptMetrics
from lmm_tui.engine.instrument.silent_run import SilentRun
from lmm_tui.engine.instrument.whole_numbers import InstrumentError, whole_number
from lmm_tui.engine.run.control_mailbox import Mailbox
from lmm_tui.engine.run.control_server import ControlServer, NoSocketError
from lmm_tui.engine.run.events import EventLog
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_dir_error import RunDirError
from lmm_tui.engine.run.run_records import ACTIVE_STATES, RunInfo, RunStatus
from lmm_tui.engine.run.status_writer import StatusWriter
from lmm_tui.errors import LmmError
from lmm_tui.message import Message
from lmm_tui.metrics.tracker import Scalar

_LOGS_BEFORE_MEETING = 2


def lmm_run(
    path: Path | str,
    total_steps: int = 0,
    *,
    stage: str = "script",
    model: str = "",
    references: Mapping[str, float] | None = None,
    checkpoint: Callable[[], object] | None = None,
    probe: Callable[[], Mapping[str, float]] | None = None,
    evaluate: Callable[[], Mapping[str, float]] | None = None,
    sample: Callable[[str], str] | None = None,
    health: Mapping[str, Any] | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    rank: int | None = None,
) -> ScriptRun | SilentRun:
    """A run in the directory `path`; use it in a `with`, else it ends with the interpreter.

    `stage="pretrain"` means that the model starts untrained, so that its loss is compared with
    `references`, the baselines in nats (`ln V`, `unigram`, `bigram`). The functions are called
    between two steps, on request. `health` has the keys of a configuration's `[health]` section
    except rollback. `resume` continues an existing run.

    Call it on every rank: rank 0 writes, the others get a run that writes nothing but obeys
    commands. `rank` overrides what torch.distributed or the launcher's environment say.

    Where a notebook's cell is run again, the run that it has open ends, and `mine` becomes
    `mine-2`. Raises RunDirError if the directory holds a run already or is in
    use, ConfigError and HealthConfigError for `health`, InstrumentError for other
    arguments.
    """
    functions = ScriptFunctions(checkpoint, probe, evaluate, sample)
    given = Path(path).absolute()  # The script may change its directory.
    if rank_of_process(rank) != 0:
        return SilentRun(functions)
    place = given
    if typed_in(sys._getframe(1).f_code.co_filename):
        place = resumed_path(given) if resume else unused_path(given)
    identity = RunInfo(
        name=place.name,
        stage=stage,
        created=time.time(),
        started=time.time(),
        host=socket.gethostname(),
        pid=os.getpid(),
        pid_started=psutil.Process().create_time(),
        model=model,
        versions={"python": platform.python_version(), "lmm-tui": __version__},
        references={name: float(value) for name, value in (references or {}).items()},
    )
    total = whole_number("total_steps", total_steps)
    run = ScriptRun(
        RunDir(place), identity, total, functions, health, resume, tensorboard, RankGroup()
    )
    remember(run)
    return run


class ScriptRun:
    """The run of a script; made by `lmm_run`, used in one thread."""

    def __init__(
        self,
        run_dir: RunDir,
        identity: RunInfo,
        total_steps: int,
        functions: ScriptFunctions,
        health: Mapping[str, Any] | None,
        resume: bool,
        tensorboard: bool,
        ranks: RankGroup,
    ) -> None:
        section = _health_section(health or {})
        self.run_dir = run_dir
        before = run_dir.read_info() if run_dir.exists() else None
        if before and before.pid == os.getppid() and run_dir.read_status().state in ACTIVE_STATES:
            raise RunDirError(
                "{path}: is the run of the script that started this process; make it once: under "
                "`if __name__ == '__main__'`, after init_process_group, or with rank=",
                path=run_dir.path,
            )
        if before and not resume:
            raise RunDirError(
                "{path}: holds a run already; choose another path, or pass resume=True",
                path=run_dir.path,
            )
        run_dir.create()
        self._lock = run_dir.lock()
        self._events = EventLog(run_dir)
        fresh = identity.stage == "pretrain"
        self._health = HealthMonitor(section, self._events, own_loop=False, from_scratch=fresh)
        self._health.hold_to(identity.references)
        self._mailbox = Mailbox()
        self._server, no_socket = _listen(self._mailbox, run_dir)
        self._info = replace(
            identity,
            socket=str(self._server.path) if self._server else "",
            created=before.created if before else identity.created,
            resumed_steps=before.resumed_steps if before else [],
        )
        run_dir.write_info(self._info)
        self._resuming = before is not None
        self._retired = False
        step = run_dir.read_status().step if before else 0
        self._status = StatusWriter(run_dir, RunStatus("running", step, total_steps))
        self._health.on_verdict = lambda verdict: self._status.update(verdict=verdict.record())
        self._metrics = ScriptMetrics(run_dir, self._status, tensorboard)
        self._commands = ScriptCommands(
            functions, self._mailbox, self._events, self._status, run_dir, self._amend_row
        )
        self._ranks = ranks
        self._logs_unmet = 0
        self.closed = False
        self.entered = False
        """Whether a `with` block of this run is being executed."""
        atexit.register(self._close_at_exit)
        self._events.write("resume" if before else "start", identity.stage, step=step)
        if no_socket:
            self._events.write("alert", no_socket, step=step, level="warning")

    @property
    def step(self) -> int:
        """The last step logged."""
        return self._metrics.step

    @property
    def should_stop(self) -> bool:
        """Whether a stop was requested; check it once a step, on every rank."""
        self._require_own_process()
        leader = self._leader()
        if leader is None or self.closed:
            self._serve()
        elif not self._commands.stop_asked and leader.due():
            self._serve()
            if not self._commands.stop_asked:
                leader.release()
        return self._commands.stop_asked

    def log(
        self,
        numbers: Mapping[str, Scalar] | None = None,
        /,
        *,
        step: int | None = None,
        tokens: int | None = None,
        **more: Scalar,
    ) -> None:
        """Write a row, carry out pending commands, and block while the run is paused.

        Numbers may be tensors; their names are ours (`train/loss`), those of other programs
        (`loss`, `eval_loss`, `lr`, `grad_norm`), or any other. `step` is an optimiser step, by
        default the next one; `tokens` is the total so far. A row of an earlier step joins the row
        of that step. After the end, numbers can be added to the steps that there are. Raises
        InstrumentError for a value that is not a number, a step that is not a whole one, a step
        that a metric has passed, and in a process forked from the run's.
        """
        at = None if step is None else whole_number("step", step)
        seen = None if tokens is None else whole_number("tokens", tokens)
        self._require_own_process()
        values = {**(numbers or {}), **more}
        if self.closed:
            self._log_after_end(values, at)
            return
        if self._resuming and at is not None:
            self._resume_at(at)
        if at is not None and at < self.step:
            self._metrics.log_late(values, at)
        else:
            row = self._metrics.log(values, at, seen)
            self._health.observe(self.step, row)
        if not self._ranks.found():
            self._serve()
        elif self._commands.leader is None:
            self._logs_unmet += 1
            if self._logs_unmet > _LOGS_BEFORE_MEETING:
                self._commands.refuse_unmet()

    def close(self, error: BaseException | None = None) -> None:
        """End the run: `finished`, `stopped` if that was requested, `failed` with an error."""
        if self.closed or os.getpid() != self._info.pid:
            return
        self.closed = True
        atexit.unregister(self._close_at_exit)
        step = self._status.status.step
        interrupted = isinstance(error, KeyboardInterrupt)
        clean_exit = isinstance(error, SystemExit) and error.code in (None, 0)
        if error is not None and not interrupted and not clean_exit:
            state = "failed"
            sentence = Message("{name}: {error}", name=type(error).__name__, error=error)
            details = "".join(traceback.format_exception(error))
            self._events.write("error", sentence, step=step, level="error", traceback=details)
            self._status.update(error=sentence)
        else:
            stopped = interrupted or self._commands.stop_asked or self._retired
            state = "stopped" if stopped else "finished"
        self._health.close()
        self._metrics.close()
        self._status.update(state=state, activity="", eta_s=None)
        self._events.write("end", Message(state), step=step)
        self._status.close()
        self._commands.close()
        if self._server:
            self._server.close()
        self._events.close()
        # A forked child that is still alive holds a copy of the file: closing would not unlock it.
        with suppress(OSError):
            fcntl.flock(self._lock, fcntl.LOCK_UN)
        self._lock.close()

    def retire(self) -> None:
        """End it because the script begins another run at its path."""
        total = self._status.status.total_steps
        self._retired = not total or self.step < total
        self.close()

    def __reduce__(self) -> str:
        raise InstrumentError(
            "{name}: a run cannot be sent to another process; make it in the process that trains, "
            "on every rank",
            name=self.run_dir.name,
        )

    def __enter__(self) -> ScriptRun:
        self.entered = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.entered = False
        self.close(error)

    def _close_at_exit(self) -> None:
        """Without `with`: the interpreter keeps an uncaught exception in `sys.last_value`."""
        self.close(getattr(sys, "last_value", None))

    def _require_own_process(self) -> None:
        if os.getpid() != self._info.pid:
            raise InstrumentError(
                "{name}: is the run of process {pid}, and this is a child of it; log there, or "
                "make another run here",
                name=self.run_dir.name,
                pid=self._info.pid,
            )

    def _leader(self) -> Leader | None:
        """Rank 0's side, once the script has initialised torch.distributed for several ranks."""
        if self._commands.leader is None and self._ranks.found():
            self._commands.leader = Leader(self._ranks)
        return self._commands.leader

    def _serve(self) -> None:
        with self._metrics.excluded():
            self._answer_alerts()
            self._commands.serve()

    def _log_after_end(self, numbers: Mapping[str, Scalar], at: int | None) -> None:
        """As by an evaluation after the training."""
        if at is None or at > self.step:
            raise InstrumentError(
                "{name}: the run has ended; pass step={step} to add to its last "
                "row, or continue it by lmm_run(…, resume=True)",
                name=self.run_dir.name,
                step=self.step,
            )
        with self.run_dir.lock():
            status = StatusWriter(self.run_dir, self.run_dir.read_status())
            try:
                self._metrics.reopen(status)
                self._metrics.log_late(numbers, at)
            finally:
                self._metrics.close()
                status.close()

    def _amend_row(self, numbers: Mapping[str, float]) -> None:
        row = self._metrics.amend(numbers)
        self._health.observe(self.step, row)

    def _answer_alerts(self) -> None:
        for action, rule in self._health.due():
            try:
                done = self._commands.hold() if action == "pause" else self._commands.checkpoint()
            except LmmError as error:
                done = str(error)
            text = Message("{rule}: {done}", rule=rule, done=done)
            self._events.write("alert", text, step=self.step, rule=rule)

    def _resume_at(self, step: int) -> None:
        """The first step logged after a resume determines where the run continues."""
        self._resuming = False
        self._health.catch_up(self.run_dir.metrics, step - 1)
        self._metrics.continue_after(step - 1)
        self._info = replace(self._info, resumed_steps=[*self._info.resumed_steps, step - 1])
        self.run_dir.write_info(self._info)
        self._events.write("resume", Message("from step {step}", step=step - 1), step=step - 1)


def _listen(mailbox: Mailbox, run_dir: RunDir) -> tuple[ControlServer | None, str]:
    """A socket in the run or else in the runtime folder; if not in the run, a sentence."""
    reason = ""
    for path in dict.fromkeys((run_dir.socket_path(), run_dir.runtime_socket_path())):
        try:
            server = ControlServer(mailbox, path)
        except NoSocketError as error:
            reason = reason or error.reason
        else:
            told = Message(
                "no socket can be made in the run's folder ({reason}); commands go by {path}",
                reason=reason,
                path=path,
            )
            return server, told if reason else ""
    return None, Message(
        "no socket can be made ({reason}); the script trains on and takes no commands",
        reason=reason,
    )


def _health_section(given: Mapping[str, Any]) -> Any:
    from lmm_tui.engine.config.resolve import resolve

    if given.get("rollback"):
        raise InstrumentError("health.rollback: only our own loop can go back; use pause")
    return resolve(assignments={f"health.{key}": value for key, value in given.items()}).health


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder, lmm_run(f"{folder}/mine", 3) as run:
        run.log(step=1, loss=3.0, lr=1e-3)
        run.close()
        print((Path(folder) / "mine" / "metrics.jsonl").read_text())
    print("=== 自测通过 ===")
