"""Hosts one run: owns its directory, lock, control socket and heartbeat, and runs the loop.

Cockpit, headless command and detached process all start runs here. Torch is imported only when
the loop starts, so that a screen can be shown before.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import platform
import socket
import sys
import threading
import time
import traceback
from concurrent.futures import Future
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import psutil

from lmm_tui import __version__
from lmm_tui.engine.checkpoints.checkpoint_files import newest_intact
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.config_file import to_toml
from lmm_tui.engine.config.resolve import resolve, with_changes
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.run_settings import changed_settings, settings_of
from lmm_tui.engine.config.trust import UntrustedError, allow_own, refuse_untrusted
from lmm_tui.engine.run.checkpoint_names import checkpoint_step, list_checkpoints
from lmm_tui.engine.run.control_mailbox import Mailbox, Reply
from lmm_tui.engine.run.control_server import ControlServer
from lmm_tui.engine.run.environment import command_line, git_state, package_versions
from lmm_tui.engine.run.events import EventLog
from lmm_tui.engine.run.find_run import run_or_path
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_dir_error import RunDirError, nothing_left, writing
from lmm_tui.engine.run.run_records import RunInfo, RunStatus
from lmm_tui.engine.run.setting_changes import SettingChange, SettingHistory, read_history
from lmm_tui.engine.run.status_writer import StatusWriter
from lmm_tui.engine.training.freed_memory import keep_freed_memory
from lmm_tui.engine.training.output_log import open_log
from lmm_tui.engine.training.stop_request import StopRequested
from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import remove
from lmm_tui.message import Message, os_reason


class EngineHost:
    """One run, from its first file to its last.

    With `resume` the run continues in its own directory from its newest checkpoint. Raises
    LmmError where the directory cannot be used; nothing is overwritten then.
    """

    def __init__(self, config: RunConfig, resume: RunDir | None = None) -> None:
        if resume is not None:
            config = _relocate_tokenizer(config, resume)
        if config.start_from is None or resume is not None:
            config = config.completed()  # Else it follows from the shape of the weights.
        asked = config.name
        if resume is None:
            config = _with_sources(config)
        self.run_dir = resume or RunDir(Path(config.runs_dir) / (config.name or _new_name(config)))
        if resume is None and self.run_dir.exists():
            raise RunDirError(
                "{path}: holds a run already; choose another --name, or go on "
                "with `lmm-tui resume {name}`",
                path=self.run_dir.path,
                name=self.run_dir.name,
            )
        if resume is not None:
            refuse_untrusted(config, [resume.path])
            _refuse_finished(resume, _planned_steps(config, resume))
        self.config = config.model_copy(update={"name": self.run_dir.name})
        self.resumes = resume is not None
        self.history, self.asked = _history(resume, self.config)
        self.mailbox = Mailbox()
        self.state = "starting"
        self.error = ""
        self.refused = False
        """Whether `error` is a sentence for a person, as for settings that cannot be trained."""
        self._stop: StopRequested | None = None
        self.run_dir.create()
        with contextlib.ExitStack() as opened:
            self._lock = opened.enter_context(self.run_dir.lock())
            # Before any file: a run that gets no socket is refused, and its name must stay free.
            self._server = ControlServer(self.mailbox, self.run_dir.socket_path())
            opened.callback(self._server.close)
            self._info = self._identify(resume)
            with writing(self.run_dir.path):
                self._log_handler = open_log(self.run_dir.output)
                opened.callback(self._close_log)
                self.events = EventLog(self.run_dir)
                self.run_dir.write_config(to_toml(with_changes(self.config, self.history.began)))
                self.run_dir.write_info(self._info)
            if resume is None:
                self._allow_own_commands()
            if self.run_dir.others_can_write():
                self.events.write(
                    "alert",
                    Message(
                        "{parent}: other users can write here, and put another run "
                        "in the place of this one; take that right away (chmod go-w)",
                        parent=self.run_dir.path.parent,
                    ),
                    step=0,
                    level="warning",
                )
            # Of epochs the steps are not known yet.
            steps = config.train.steps if config.train.epochs is None else 0
            self.status = StatusWriter(self.run_dir, RunStatus(total_steps=steps))
            if resume is None and asked != config.name:
                self.events.write(
                    "start",
                    Message(
                        "{asked} has the first weights; this run is {name}",
                        asked=asked,
                        name=config.name,
                    ),
                    step=0,
                )
            opened.pop_all()

    def start(self, nice: int = 0) -> None:
        """Run in a new thread; the caller joins it.

        `nice`, as in nice(2), lowers the priority of this thread and of those it starts below the
        others of the process; only Linux has that for threads.
        """
        keep_freed_memory()
        self._thread = threading.Thread(target=self._run_in_thread, args=(nice,), name="train")
        self._thread.start()

    def _run_in_thread(self, nice: int) -> None:
        if nice and sys.platform == "linux":
            os.nice(nice)
        self.run()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the run to end; True once it has."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def stop(self) -> Future[Reply]:
        """Request a stop with a checkpoint; safe in a signal handler."""
        return self.mailbox.send("stop")

    @property
    def saved(self) -> bool:
        """Whether the checkpoint at the end was written, if one was requested."""
        if self._stop is None:
            return self.state == "finished"
        return self._stop.saved or not self._stop.save

    def refusal(self) -> LmmError:
        """The error of a refused run; the directory of a new one without a step is removed."""
        if not self.resumes and not self.status.status.step:
            remove(self.run_dir.path, self.run_dir.path.parent)
        return LmmError(self.error)

    def run(self) -> str:
        """Train to the end in this thread; returns `finished`, `stopped` or `failed`."""
        try:
            from lmm_tui.engine.training.loop import Trainer

            self.state = Trainer(self).run()
        except StopRequested as stop:
            self.state, self._stop = "stopped", stop
        except LmmError as error:
            self._fail(str(error), "")
        except BaseException as error:
            # An exception that leaves a thread would not be reported.
            self._fail(
                Message("{name}: {error}", name=type(error).__name__, error=error),
                traceback.format_exc(),
            )
            if not isinstance(error, Exception):
                raise
        finally:
            self._close()
        return self.state

    def describe(self, **changes: Any) -> None:
        """Add to run.json what is known only after data and model are loaded."""
        self._info = replace(self._info, **changes)
        try:
            self.run_dir.write_info(self._info)
        except OSError as error:
            text = Message(
                "run.json cannot be written ({error}): it lacks {changes}",
                error=os_reason(error),
                changes=[*changes],
            )
            self.events.write("alert", text, step=self.status.status.step, level="warning")

    def _allow_own_commands(self) -> None:
        """Remember what this user started with, so that a resume need not ask."""
        try:
            allow_own(self.config, self.run_dir.path)
        except UntrustedError as error:
            text = Message("a resume of this run will need --trust: {error}", error=error)
            self.events.write("alert", text, step=0, level="warning")

    def _fail(self, sentence: str, details: str) -> None:
        self.state = "failed"
        self.error, self.refused = details or sentence, not details
        step = self.status.status.step
        self.events.write("error", sentence, step=step, level="error", traceback=details)
        self.status.update(error=sentence)

    def _close(self) -> None:
        self.status.update(state=self.state, activity="", eta_s=None)
        self.events.write("end", self.state, step=self.status.status.step)
        self.status.close()
        if self._stop:
            self._stop.request.answer(self._stop.reply(self.status.status.step))
        self.mailbox.close()
        self._server.close()
        self.events.close()
        self._close_log()
        self._lock.close()

    def _close_log(self) -> None:
        logging.getLogger("engine").removeHandler(self._log_handler)
        self._log_handler.close()

    def _identify(self, resume: RunDir | None) -> RunInfo:
        process = psutil.Process()
        now = time.time()
        before = resume.read_info() if resume else None
        return RunInfo(
            name=self.run_dir.name,
            stage=self.config.stage,
            created=before.created if before else now,
            started=now,
            host=socket.gethostname(),
            pid=process.pid,
            pid_started=process.create_time(),
            model=self.config.model.preset,
            socket=str(self.run_dir.socket_path()),
            versions={"python": platform.python_version(), "lmm-tui": __version__}
            | package_versions(),
            command=command_line(),
            git=git_state(),
            resumed_steps=before.resumed_steps if before else [],
            earlier_s=before.seconds_at(resume.read_status().heartbeat) if resume and before else 0,
        )


def _history(
    resume: RunDir | None, config: RunConfig
) -> tuple[SettingHistory, list[SettingChange]]:
    """What was changed in the run so far, and what changes with this resume, at a step to come."""
    if resume is None:
        return SettingHistory(), []
    history = read_history(resume.events)
    try:
        before = settings_of(resume).completed()
    except ConfigError:
        return history, []
    asked = changed_settings(before, config, step=0)
    for change in asked:
        history.began.setdefault(change.key, change.before)
    if config.train.epochs is not None:
        history.began.setdefault("train.steps", before.train.steps)
    return history, asked


def _relocate_tokenizer(config: RunConfig, run: RunDir) -> RunConfig:
    """Use the run's own tokenizer.json where its directory was moved."""
    given, own = config.data.tokenizer, run.path / "tokenizer.json"
    if given is None or Path(given).expanduser().exists() or not own.is_file():
        return config
    data = config.data.model_copy(update={"tokenizer": str(own)})
    return config.model_copy(update={"data": data})


def _with_sources(config: RunConfig) -> RunConfig:
    """Weights that are named like the new run are those that had the name before.

    A run that starts from one of its own name gets the next free one: nothing is overwritten.
    """
    if config.name is None:
        return config
    own = Path(config.runs_dir, config.name)

    def located(name: str | None) -> str | None:
        if name is None or Path(config.runs_dir, name) != own or own.is_dir():
            return name
        return str(Path(name).absolute())

    teacher = config.distill.model_copy(update={"teacher": located(config.distill.teacher)})
    update: dict[str, Any] = {"start_from": located(config.start_from), "distill": teacher}
    if config.start_from:
        start = run_or_path(config.start_from, config.runs_dir).resolve()
        if own.resolve() in (start, *start.parents):
            names = (f"{config.name}-{number}" for number in count(2))
            update["name"] = next(it for it in names if not Path(config.runs_dir, it).exists())
    return config.model_copy(update=update)


def _planned_steps(config: RunConfig, run: RunDir) -> int | None:
    """All the steps of a resumed run; None where they follow from data that are not read yet."""
    if config.train.epochs is None:
        return config.train.steps
    before = resolve(run.config).train
    if before.epochs is None:
        return None
    return math.ceil(before.steps * config.train.epochs / before.epochs)


def _refuse_finished(run_dir: RunDir, steps: int | None) -> None:
    if steps is None:
        return
    saved = list_checkpoints(run_dir.checkpoints)
    if not saved or checkpoint_step(saved[-1]) < steps:
        return
    newest, _ = newest_intact(run_dir.checkpoints)
    done = checkpoint_step(newest) if newest else 0
    if done >= steps:
        raise nothing_left(run_dir.path, done, steps)


def _new_name(config: RunConfig) -> str:
    """Stage, model and date, with a number after it where that name is taken."""
    stem = f"{config.stage}-{config.model.preset}-{time.strftime('%m%d-%H%M%S')}"
    names = chain([stem], (f"{stem}-{number}" for number in count(2)))
    return next(name for name in names if not (Path(config.runs_dir) / name).exists())


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        host = EngineHost(resolve(assignments={"runs_dir": folder, "data.source": "none"}))
        print(host.run(), host.error)
    print("=== 自测通过 ===")
