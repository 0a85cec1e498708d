"""The directory of a run: its file names, its identity and status, its owner's lock.

The engine writes the directory and every other process reads it; there is no other channel for
data. Monitors import this module, so it stays free of torch and of the configuration tree.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import stat
import tempfile
import time
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING

from lmm_tui.engine.run.process_lives import process_lives
from lmm_tui.engine.run.run_dir_error import RunDirError, writing
from lmm_tui.engine.run.run_records import (
    ACTIVE_STATES,
    FORMAT,
    RunInfo,
    RunStatus,
    read_record,
    write_record,
)
from lmm_tui.guarded_files import (
    UnsafeFileError,
    make_private,
    open_file,
    refuse_unsafe,
    replace_text,
)
from lmm_tui.message import Message, os_reason

if TYPE_CHECKING:
    from lmm_tui.engine.run.rank_records import SupervisorRecord

_log = logging.getLogger("engine")

RUNS_DIR = "runs"
"""The default folder of runs."""

SOCKET = "control.sock"
"""The name of a socket inside of its run."""

_FILES = (
    *("run.json", "status.json", "config.toml", "metrics.jsonl", "events.jsonl", "samples.jsonl"),
    *("output.log", "run.lock", "note.txt", "tags.txt", "tokenizer.json", "tokenizer_config.json"),
    *("reference.safetensors", "architecture.json", "ranks.json", "supervisor.json"),
)
_FOLDERS = ("tensorboard", "checkpoints", "evals", "spikes", "plots", "ranks")
_STALE_AFTER_S = 10.0
_LONGEST_OWNER = 200


def _in_run(name: str) -> cached_property[Path]:
    """The path of a file of a run, made when it is asked for: a list has thousands of runs."""
    return cached_property(lambda run: run.path / name)


class RunDir:
    """The paths of one run, and the small files in it."""

    config = _in_run("config.toml")
    info_file = _in_run("run.json")
    status_file = _in_run("status.json")
    metrics = _in_run("metrics.jsonl")
    events = _in_run("events.jsonl")
    samples = _in_run("samples.jsonl")
    tensorboard = _in_run("tensorboard")
    checkpoints = _in_run("checkpoints")
    evals = _in_run("evals")
    spikes = _in_run("spikes")
    plots = _in_run("plots")
    output = _in_run("output.log")
    lock_file = _in_run("run.lock")
    note_file = _in_run("note.txt")
    tags_file = _in_run("tags.txt")
    ranks = _in_run("ranks")
    ranks_file = _in_run("ranks.json")
    supervisor_file = _in_run("supervisor.json")

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"RunDir({str(self.path)!r})"

    @property
    def name(self) -> str:
        return self.path.name

    def create(self) -> None:
        """Make the directory, readable by its user only; RunDirError if that fails."""
        try:
            make_private(self.path)
        except OSError as error:
            raise RunDirError(
                "{path}: cannot be made ({error}); choose another --runs-dir",
                path=self.path,
                error=os_reason(error),
            ) from None

    def exists(self) -> bool:
        return os.path.lexists(self.info_file)

    def refuse_unsafe(self) -> None:
        """Raise RunDirError if a link, a pipe or a device stands where the run has its files.

        Links would lead out of the run, which may come from somebody else.
        """
        try:
            refuse_unsafe(self.path, _FILES, _FOLDERS)
        except UnsafeFileError as error:
            raise RunDirError(
                "{error}; put the file itself there, or delete it", error=error
            ) from None

    def others_can_write(self) -> bool:
        """Whether other users may put another run in the place of this one."""
        return others_can_write(self.path.parent)

    def read_info(self) -> RunInfo:
        """Raises RunDirError if run.json is missing, damaged or of a newer format, or if the run
        is not safe to read."""
        self.refuse_unsafe()
        info = read_record(self.info_file, RunInfo)
        if info is None:
            raise RunDirError("{path}: not a run directory (no readable run.json)", path=self.path)
        if info.format > FORMAT:
            raise RunDirError(
                "{info_file}: format {format} is newer than this lmm-tui reads "
                "({format2}); upgrade lmm-tui",
                info_file=self.info_file,
                format=info.format,
                format2=FORMAT,
            )
        return info

    def write_info(self, info: RunInfo) -> None:
        write_record(self.info_file, info)

    def write_config(self, text: str) -> None:
        """Replace config.toml atomically."""
        replace_text(self.config, text, self.path)

    def read_status(self, otherwise: RunStatus | None = None) -> RunStatus:
        """The last status written; `otherwise`, or a default one, if none is readable."""
        return read_record(self.status_file, RunStatus) or otherwise or RunStatus()

    def write_status(self, status: RunStatus) -> None:
        write_record(self.status_file, status)

    def socket_path(self) -> Path:
        """Where the control socket is bound: in the run, or in the runtime folder if that is long.

        Unix socket paths have at most 107 bytes (`man 7 unix`).
        """
        inside = self.path.resolve() / SOCKET
        return inside if len(os.fsencode(inside)) <= 100 else self.runtime_socket_path()

    def runtime_socket_path(self) -> Path:
        """A socket in the user's runtime folder, named by a hash of the run's path."""
        import hashlib

        inside = self.path.resolve() / SOCKET
        runtime = os.environ.get("XDG_RUNTIME_DIR") or f"{tempfile.gettempdir()}/lmm-{os.getuid()}"
        digest = hashlib.sha256(os.fsencode(inside)).hexdigest()[:16]
        return Path(runtime) / f"lmm-tui-{digest}.sock"

    def lock(self) -> IO[str]:
        """Own this run while the returned file is open; the kernel releases it at exit.

        Raises RunDirError with the owner's pid and host if another process owns it.
        """
        with writing(self.lock_file):
            flags = os.O_RDWR | os.O_CREAT
            handle = os.fdopen(open_file(self.lock_file, flags, inside=self.path), "r+")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _owner(handle.read(_LONGEST_OWNER).strip())
            handle.close()
            raise RunDirError(
                "{path}: in use by {owner}; attach with `lmm-tui monitor {name}` "
                "or choose another --name",
                path=self.path,
                owner=owner,
                name=self.name,
            ) from None
        except OSError as error:  # Some network and user-space file systems have no locks.
            _log.warning("%s: cannot be locked (%s)", self.path, error.strerror)
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        with writing(self.lock_file):
            handle.truncate(0)
            handle.write(f"pid {os.getpid()} on {socket.gethostname()} since {now}")
            handle.flush()
        return handle

    def derived_state(self, info: RunInfo, status: RunStatus, now: float | None = None) -> str:
        """`status.state`, `crashed` (process gone on this host), `stale` (silent for 10 s), or
        `restarting` (its ranks have ended, and their supervisor starts them again)."""
        if status.state != "finished" and (supervisor := self._supervisor()):
            if supervisor.restarting:
                return "restarting"
            if status.state == "starting" and supervisor.active:
                return "starting"  # Rank 0 has no heartbeat before it has loaded torch.
        if status.state not in ACTIVE_STATES:
            return status.state
        now = time.time() if now is None else now
        # Before the first status is written, the start counts as the last heartbeat.
        silent_s = now - max(status.heartbeat, info.started)
        if info.host == socket.gethostname():
            # Setting the clock shifts every process's start time; a fresh heartbeat proves life.
            silent = abs(silent_s) > _STALE_AFTER_S
            if not process_lives(info.pid, info.pid_started if silent else None):
                return "crashed"
        return "stale" if silent_s > _STALE_AFTER_S else status.state

    def restart_count(self) -> str:
        """`1/3` while a supervisor starts the ranks of this run again, else empty."""
        supervisor = self._supervisor()
        return "" if supervisor is None else supervisor.restarting

    def _supervisor(self) -> SupervisorRecord | None:
        if not os.path.lexists(self.supervisor_file):
            return None  # Most runs have none, and need nothing of it.
        from lmm_tui.engine.run.rank_records import read_supervisor

        return read_supervisor(self.supervisor_file)

    def listening_at(self, info: RunInfo) -> Path:
        """The socket of its process; a moved or copied run ignores the recorded path."""
        recorded = Path(info.socket)
        # A socket in a runtime folder is named by the hash of this path; only the folder may
        # differ between processes.
        return recorded if recorded.name == self.runtime_socket_path().name else self.socket_path()


def _owner(text: str) -> Message:
    """Who holds the lock, from the text of its file."""
    match text.split(" ", 5):
        case ["pid", pid, "on", host, "since", time_]:
            return Message("pid {pid} on {host} since {time}", pid=pid, host=host, time=time_)
    return Message(text) if text else Message("another process")


def others_can_write(folder: Path) -> bool:
    """Whether users other than its owner may rename or replace the entries of a folder."""
    try:
        found = folder.stat()
    except OSError:
        return False
    group = found.st_mode & stat.S_IWGRP and found.st_gid != os.getgid()
    return bool(found.st_mode & stat.S_IWOTH or group) and not found.st_mode & stat.S_ISVTX


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        demo = RunDir(Path(folder) / "demo")
        demo.create()
        with demo.lock():
            print(demo, demo.socket_path())
        demo.write_status(RunStatus(state="running", step=3))
        assert demo.read_status().step == 3
    print("=== 自测通过 ===")
