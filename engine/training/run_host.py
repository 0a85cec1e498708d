"""Hosts one run: owns its directory, lock, control socket and heartbeat, and runs the loop.

Cockpit, headless command and detached process all start runs here; it decides nothing about
training and imports torch only once the loop starts, so that a screen can be up before.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import re
import shutil
import socket
import sys
import threading
import time
import traceback
from concurrent.futures import Future
from dataclasses import replace
from importlib.metadata import version
from itertools import chain, count
from pathlib import Path
from typing import Any

import psutil

from lmm_tui import __version__
from lmm_tui.engine.checkpoints.checkpoint_files import newest_intact
from lmm_tui.engine.config.config_file import to_toml
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.checkpoint_names import checkpoint_step, list_checkpoints
from lmm_tui.engine.run.control_mailbox import Mailbox, Reply
from lmm_tui.engine.run.control_server import ControlServer
from lmm_tui.engine.run.events import EventLog
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_dir_error import RunDirError, writing
from lmm_tui.engine.run.run_records import RunInfo, RunStatus
from lmm_tui.engine.run.status_writer import StatusWriter
from lmm_tui.engine.training.commands import StopRequested
from lmm_tui.engine.training.freed_memory import keep_freed_memory
from lmm_tui.errors import LmmError
from lmm_tui.metrics.writers.line_file import LineFile

_PACKAGES = ("torch", "numpy", "tokenizers")


class EngineHost:
    """One run, from its first file to its last.

    With `resume` the run goes on in its own directory from its newest checkpoint. Raises
    LmmError where the directory cannot be used: nothing is overwritten then.
    """

    def __init__(self, config: RunConfig, resume: RunDir | None = None) -> None:
        if resume is not None:
            config = _where_it_is_now(config, resume)
        if config.start_from is None or resume is not None:
            config = config.completed()  # Else what follows from the weights' shape is not known.
        self.run_dir = resume or RunDir(Path(config.runs_dir) / (config.name or _new_name(config)))
        if resume is None and self.run_dir.exists():
            raise RunDirError(
                f"{self.run_dir.path}: holds a run already; choose another --name, or go on "
                f"with `lmm-tui resume {self.run_dir.name}`"
            )
        if resume is not None:
            _refuse_finished(resume, config.train.steps)
        self.config = config.model_copy(update={"name": self.run_dir.name})
        self.mailbox = Mailbox()
        self.state = "starting"
        self.error = ""
        self.refused = False
        """Whether `error` is a sentence for a person: what was asked for cannot be trained."""
        self._stop: StopRequested | None = None
        self._is_new = resume is None
        self.run_dir.create()
        with contextlib.ExitStack() as opened:
            self._lock = opened.enter_context(self.run_dir.lock())
            # First of all: a run without its socket is refused, and must leave no name taken.
            self._server = ControlServer(self.mailbox, self.run_dir.socket_path())
            opened.callback(self._server.close)
            self._info = self._identify(resume)
            with writing(self.run_dir.path):
                self._log_handler = _log_to(self.run_dir.output)
                opened.callback(self._close_log)
                self.events = EventLog(self.run_dir)
                self.run_dir.write_config(to_toml(self.config))
                self.run_dir.write_info(self._info)
            self.status = StatusWriter(self.run_dir, RunStatus(total_steps=config.train.steps))
            opened.pop_all()

    def start(self, nice: int = 0) -> None:
        """Run in a thread of its own; whoever starts it joins it.

        By `nice` (see nice(2)) it and the threads it starts give way to the others of the process;
        Linux alone knows that of a thread.
        """
        keep_freed_memory()
        self._thread = threading.Thread(target=self._run_aside, args=(nice,), name="train")
        self._thread.start()

    def _run_aside(self, nice: int) -> None:
        if nice and sys.platform == "linux":
            os.nice(nice)
        self.run()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the run to end; True once it has."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def stop(self) -> Future[Reply]:
        """Ask for a checkpoint and the end; safe in a signal handler."""
        return self.mailbox.send("stop")

    @property
    def saved(self) -> bool:
        """Whether what was asked to be saved at the end is."""
        if self._stop is None:
            return self.state == "finished"
        return self._stop.saved or not self._stop.save

    def refusal(self) -> LmmError:
        """What to raise for a run that was refused; one that did no step leaves its name free."""
        if self._is_new and not self.status.status.step:
            shutil.rmtree(self.run_dir.path)
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
            # Lost otherwise: nobody sees what a plain thread raises.
            self._fail(f"{type(error).__name__}: {error}", traceback.format_exc())
            if not isinstance(error, Exception):
                raise
        finally:
            self._close()
        return self.state

    def describe(self, **changes: Any) -> None:
        """Add to run.json what is only known once torch, data and model are there."""
        self._info = replace(self._info, **changes)
        try:
            self.run_dir.write_info(self._info)
        except OSError as error:
            text = f"run.json cannot be written ({error.strerror}): it lacks {', '.join(changes)}"
            self.events.write("alert", text, step=self.status.status.step, level="warning")

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
            | {package: version(package) for package in _PACKAGES},
            resumed_steps=before.resumed_steps if before else [],
        )


def _where_it_is_now(config: RunConfig, run: RunDir) -> RunConfig:
    """A run that was moved has its own tokenizer in another place than it was told."""
    given, own = config.data.tokenizer, run.path / "tokenizer.json"
    if given is None or Path(given).expanduser().exists() or not own.is_file():
        return config
    data = config.data.model_copy(update={"tokenizer": str(own)})
    return config.model_copy(update={"data": data})


def _refuse_finished(run_dir: RunDir, steps: int) -> None:
    saved = list_checkpoints(run_dir.checkpoints)
    if not saved or checkpoint_step(saved[-1]) < steps:
        return
    newest, _ = newest_intact(run_dir.checkpoints)
    done = checkpoint_step(newest) if newest else 0
    if done >= steps:
        raise RunDirError(
            f"{run_dir.path}: nothing left to train, step {done} of {steps} is saved; "
            "raise --steps to go on"
        )


def _new_name(config: RunConfig) -> str:
    """Stage, model and date; a number behind it where that is taken within one second."""
    stem = f"{config.stage}-{config.model.preset}-{time.strftime('%m%d-%H%M%S')}"
    names = chain([stem], (f"{stem}-{number}" for number in count(2)))
    return next(name for name in names if not (Path(config.runs_dir) / name).exists())


class _LogFile(logging.Handler):
    """Whoever logs waits for no disk, and no full one is worth a traceback on the screen."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = LineFile(path)

    def emit(self, record: logging.LogRecord) -> None:
        self._file.append(self.format(record).encode("utf-8", "replace") + b"\n")

    def close(self) -> None:
        super().close()
        self._file.close()


def _log_to(path: Path) -> logging.Handler:
    handler = _LogFile(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("engine")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    return handler


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.config.resolve import resolve

    with tempfile.TemporaryDirectory() as folder:
        settings = resolve(
            assignments={
                "runs_dir": folder,
                "name": "demo",
                "device": "cpu",
                "train.steps": 3,
                "train.batch_size": 2,
                "data.seq_len": 32,
                "data.builtin_mb": 0.1,
                "data.cache_dir": f"{folder}/cache",
                "log.tensorboard": False,
            }
        )
        host = EngineHost(settings)
        print(host.run(), host.run_dir.read_status().step, host.error)
        assert host.state == "finished"
        try:
            EngineHost(settings)
        except RunDirError as refusal:
            print(re.sub(r"/tmp/\w+", "RUNS", str(refusal)))
    print("=== 自测通过 ===")
