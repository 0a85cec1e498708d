"""Train in a process and session of its own, which outlives the terminal that started it.

The child reads its job as JSON on stdin and answers with one JSON line: the run it opened, or an
error. Afterwards the run directory is the only link. With retries the child is a supervisor: it
starts the engine as its own child and resumes the run after a crash. For several ranks it is
`lmm_tui.runs.ranks.supervisor`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from lmm_tui.child_process import ALL_SECRETS, HUB_SECRETS, start_python
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.message import Message, with_messages, with_parts
from lmm_tui.runs.ranks.nodes import starts_ranks
from lmm_tui.runs.shutdown import GRACE_S, leave_after
from lmm_tui.terminal import capabilities

if TYPE_CHECKING:
    from lmm_tui.engine.config.run_config import RunConfig

_CHILD = "from lmm_tui.runs.detached import serve; serve()"
_RANKS_CHILD = "from lmm_tui.runs.ranks.supervisor import serve; serve()"
_REFUSED = 2

Job = Mapping[str, Any]
"""`config`, `resume` (a path or None), `retries`, `grace_s`, `summarises`."""

_NOT_BEGUN = Message("the engine process ended before it began")


class DetachError(LmmError):
    """The engine process did not open its run."""


@dataclass(frozen=True)
class Detached:
    """A run, and the pid of its engine or of the engine's supervisor."""

    run: RunDir
    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        return self.process.pid


def start(
    config: RunConfig,
    resume: RunDir | None = None,
    *,
    retries: int = 0,
    grace_s: float = GRACE_S,
    summarises: bool = True,
) -> Detached:
    """Start the engine; returns once it has opened its run directory.

    The run is resumed up to `retries` times after a crash; several ranks are restarted as often as
    their settings say. After SIGTERM there are `grace_s` seconds for a checkpoint. The end is drawn
    and summarised there, unless a caller that waits for it does so (`summarises`). Raises
    DetachError with the engine's error if it refused the run.
    """
    job = {
        "config": config.model_dump(),
        "resume": str(resume.path) if resume else None,
        "retries": retries,
        "grace_s": grace_s,
        "summarises": summarises,
    }
    several = starts_ranks(config)
    if several and retries:
        raise DetachError(
            "--retries: several ranks are restarted by their supervisor; say --restarts {retries}",
            retries=retries,
        )
    child, run = _spawn(job, _RANKS_CHILD if several else _CHILD)
    return Detached(run, child)


def start_and_open(config: RunConfig) -> Reader:
    """Start a run in a process of its own, as `lmm-tui launch --detach` does, and open it."""
    return Reader(start(config).run.path)


def reap(pids: list[int]) -> None:
    """Take those off the list that this process started and that have ended.

    Until then such a process is a zombie, and looks alive to those who ask for its pid.
    """
    for pid in [*pids]:
        with suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                continue
        pids.remove(pid)


def serve() -> None:
    """The main function of the child process."""
    job = json.load(sys.stdin)
    sys.exit(_supervise(job) if job["retries"] else _train(job))


def _spawn(job: Job, program: str = _CHILD) -> tuple[subprocess.Popen[str], RunDir]:
    # The child inherits the working directory, so relative paths mean the same there.
    pipe = subprocess.PIPE
    child = start_python(["-c", program], secrets=_secrets(job), stdin=pipe, stdout=pipe)
    assert child.stdin is not None and child.stdout is not None
    with child.stdin, child.stdout:
        child.stdin.write(json.dumps(job))
        child.stdin.close()
        line = child.stdout.readline()
    answer = with_messages(json.loads(line)) if line else {"error": _NOT_BEGUN}
    if "error" in answer:
        child.wait()
        raise DetachError(answer["error"])
    return child, RunDir(answer["run"])


def _secrets(job: Job) -> Collection[str] | None:
    """Those of evaluations; all of them for commands and rewards of the user."""
    from lmm_tui.engine.config.run_config import RunConfig
    from lmm_tui.engine.config.trust import commands_in

    config = RunConfig.model_validate(job["config"])
    return ALL_SECRETS if commands_in(config) else HUB_SECRETS


def _supervise(job: Job) -> int:
    """Run the engine and resume it after crashes; returns the exit code of the last one."""
    try:
        child, run = _spawn({**job, "retries": 0})
    except DetachError as error:
        return _refuse(error)
    print(json.dumps({"run": str(run.path)}), flush=True)
    capabilities.release_terminal(run.output)
    children = [child]
    received: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        received.append(number)
        children[-1].send_signal(number)

    _on_signals(forward)
    for attempt in range(1, job["retries"] + 1):
        code = children[-1].wait()
        if received or code in (0, _REFUSED):
            return code
        _log_restart(run, code, attempt, job["retries"])
        try:
            children.append(_spawn(_resume_job(run, job))[0])
        except LmmError as error:
            print(error, file=sys.stderr, flush=True)
            return _REFUSED
    return children[-1].wait()


def _resume_job(run: RunDir, job: Job) -> Job:
    """Resume with the settings in the run directory, which may have changed since the start."""
    from lmm_tui.engine.config.run_settings import settings_of

    config = settings_of(run).model_dump()
    return {**job, "config": config, "resume": str(run.path), "retries": 0}


def _log_restart(run: RunDir, code: int, attempt: int, retries: int) -> None:
    from lmm_tui.engine.run.events import EventLog

    events = EventLog(run)
    step = run.read_status().step
    text = Message(
        "the engine was ended by {name}; resuming, attempt {attempt} of {retries}"
        if code < 0
        else "the engine crashed; resuming, attempt {attempt} of {retries}",
        name=signal.Signals(-code).name if code < 0 else "",
        attempt=attempt,
        retries=retries,
    )
    events.write("alert", text, step=step, level="error")
    events.close()


def _train(job: Job) -> int:
    from lmm_tui.engine.config.run_config import RunConfig
    from lmm_tui.engine.training.run_host import EngineHost

    resume = RunDir(job["resume"]) if job["resume"] else None
    try:
        host = EngineHost(RunConfig.model_validate(job["config"]), resume)
    except LmmError as error:
        return _refuse(error)
    with suppress(BrokenPipeError):  # Who started it was killed meanwhile; it trains all the same.
        print(json.dumps({"run": str(host.run_dir.path)}), flush=True)
    capabilities.release_terminal(host.run_dir.output)

    def stop(number: int, frame: FrameType | None) -> None:
        host.stop()
        if number == signal.SIGTERM:
            leave_after(job["grace_s"])

    _on_signals(stop)
    host.start()
    while not host.join(1.0):
        pass  # Signal handlers run between two waits, not within one.
    if job["summarises"] and host.run_dir.read_status().step:
        from lmm_tui.runs.end_summary import end_summary

        capabilities.print_or_log(end_summary(host.run_dir), host.run_dir.output)
    if host.refused:
        return _REFUSED
    return 1 if host.error else 0


def _refuse(error: LmmError) -> int:
    print(json.dumps(with_parts({"error": str(error)})), flush=True)
    return _REFUSED


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


if __name__ == "__main__":
    from lmm_tui.engine.config.resolve import resolve

    try:
        start(resolve(assignments={"runs_dir": __file__}))
    except DetachError as refusal:
        print(refusal)
    print("=== 自测通过 ===")
