"""The run directory: the one place that knows its file names, and how its files are written.

The engine writes it through this module and everyone else reads it; there is no other channel.
It knows no torch, no configuration model and no metric: monitors import it and must stay fast.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import UnionType
from typing import IO, Any, TypeVar, get_args, get_origin, get_type_hints

import psutil

from lmm_tui.errors import LmmError
from lmm_tui.metrics.values import strict
from lmm_tui.metrics.writers.line_file import LineFile

FORMAT = 1
"""Version of the layout below; a reader refuses a newer one."""

RUNS_DIR = "runs"
"""Where runs are kept unless a person says otherwise."""

SOCKET = "control.sock"

STALE_AFTER_S = 10.0
ACTIVE_STATES = frozenset({"starting", "running", "paused", "stopping"})
ENDED_STATES = frozenset({"finished", "stopped", "failed"})

LIKELIHOOD_STAGES = frozenset({"pretrain", "sft"})
"""Whose loss is nats per token, so that exp(loss) is a perplexity."""


class RunDirError(LmmError):
    """A run directory that is missing, foreign, damaged or in use."""


@dataclass(frozen=True)
class RunInfo:
    """`run.json`: who this run is. Written at every start, read by everyone."""

    name: str
    stage: str
    created: float
    started: float
    host: str
    pid: int
    pid_started: float
    """Start time of the process (unix seconds): tells a reused pid from the real one."""
    device: str = ""
    precision: str = ""
    model: str = ""
    parameters: int = 0
    socket: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    references: dict[str, float] = field(default_factory=dict)
    """Loss levels to draw as lines, nats: `ln V`, `unigram`, `bigram`."""
    parent: str = ""
    parent_checkpoint: str = ""
    parent_stage: str = ""
    resumed_steps: list[int] = field(default_factory=list)
    format: int = FORMAT


@dataclass(frozen=True)
class RunStatus:
    """`status.json`: how this run is. Replaced atomically, at most once a second."""

    state: str = "starting"
    step: int = 0
    total_steps: int = 0
    tokens: int = 0
    total_tokens: int = 0
    heartbeat: float = 0.0
    eta_s: float | None = None
    loss: float | None = None
    val_loss: float | None = None
    tokens_per_s: float | None = None
    activity: str = ""
    """What takes long at the moment, such as `tokenising 43 %`; empty while training."""
    error: str = ""


_MOST = 1 << 62
"""No count or time of a record is larger."""

_CHECKPOINT = re.compile(r"step-(\d{9})")

Record = TypeVar("Record", RunInfo, RunStatus)


class RunDir:
    """The paths of one run, and the small files in it."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.config = self.path / "config.toml"
        self.info_file = self.path / "run.json"
        self.status_file = self.path / "status.json"
        self.metrics = self.path / "metrics.jsonl"
        self.events = self.path / "events.jsonl"
        self.samples = self.path / "samples.jsonl"
        self.tensorboard = self.path / "tensorboard"
        self.checkpoints = self.path / "checkpoints"
        self.evals = self.path / "evals"
        self.spikes = self.path / "spikes"
        self.plots = self.path / "plots"
        self.output = self.path / "output.log"
        self.lock_file = self.path / "run.lock"
        self.note_file = self.path / "note.txt"

    def __repr__(self) -> str:
        return f"RunDir({str(self.path)!r})"

    @property
    def name(self) -> str:
        return self.path.name

    def create(self) -> None:
        """Make the directory, private to its user; RunDirError where that is impossible."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise RunDirError(
                f"{self.path}: cannot be made ({error.strerror}); choose another --runs-dir"
            ) from None

    def exists(self) -> bool:
        return self.info_file.is_file()

    def read_info(self) -> RunInfo:
        """Raises RunDirError where this is no run, is damaged, or is of a newer format."""
        info = _read_record(self.info_file, RunInfo)
        if info is None:
            raise RunDirError(f"{self.path}: not a run directory (no readable run.json)")
        if info.format > FORMAT:
            raise RunDirError(
                f"{self.info_file}: format {info.format} is newer than this lmm-tui reads "
                f"({FORMAT}); upgrade lmm-tui"
            )
        return info

    def write_info(self, info: RunInfo) -> None:
        _write_json(self.info_file, asdict(info))

    def write_config(self, text: str) -> None:
        """Replace config.toml as a whole: a power cut leaves the old or the new one."""
        replace_text(self.config, text)

    def read_status(self, otherwise: RunStatus | None = None) -> RunStatus:
        """The last status written; `otherwise`, or a fresh one, where there is no readable one."""
        return _read_record(self.status_file, RunStatus) or otherwise or RunStatus()

    def write_status(self, status: RunStatus) -> None:
        _write_json(self.status_file, asdict(status))

    def socket_path(self) -> Path:
        """Where the control socket is bound.

        Unix socket paths end at 107 bytes (`man 7 unix`); a run that lies deeper gets its
        socket in the user's runtime folder, named by a hash of the run's path.
        """
        inside = self.path.resolve() / SOCKET
        if len(os.fsencode(inside)) <= 100:
            return inside
        import hashlib

        runtime = os.environ.get("XDG_RUNTIME_DIR") or f"{tempfile.gettempdir()}/lmm-{os.getuid()}"
        digest = hashlib.sha256(os.fsencode(inside)).hexdigest()[:16]
        return Path(runtime) / f"lmm-tui-{digest}.sock"

    def lock(self) -> IO[str]:
        """Own this run for as long as the returned file is open (the kernel frees it at death).

        Raises RunDirError with the owner's pid and host where someone else does.
        """
        with writing(self.lock_file):
            handle = self.lock_file.open("a+", encoding="utf-8")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            owner = handle.read().strip() or "another process"
            handle.close()
            raise RunDirError(
                f"{self.path}: in use by {owner}; attach with `lmm-tui monitor {self.name}` "
                "or choose another --name"
            ) from None
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        with writing(self.lock_file):
            handle.truncate(0)
            handle.write(f"pid {os.getpid()} on {socket.gethostname()} since {now}")
            handle.flush()
        return handle

    def derived_state(self, info: RunInfo, status: RunStatus, now: float | None = None) -> str:
        """`status.state`, or `crashed` (owner gone on this host) or `stale` (silent for 10 s)."""
        if status.state not in ACTIVE_STATES:
            return status.state
        now = time.time() if now is None else now
        # A run that has not written its first status yet is as old as its start.
        silent_s = now - max(status.heartbeat, info.started)
        if info.host == socket.gethostname():
            if not psutil.pid_exists(info.pid):
                return "crashed"
            # Setting the clock moves the start of every process; whoever writes is alive.
            silent = abs(silent_s) > STALE_AFTER_S
            if silent and not _started_at(info.pid, info.pid_started):
                return "crashed"
        return "stale" if silent_s > STALE_AFTER_S else status.state

    def listening_at(self, info: RunInfo) -> Path:
        """Where its process listens; a moved or copied run has nothing to say to the old place."""
        here, recorded = self.socket_path(), Path(info.socket)
        # In a runtime folder it is named by a hash of this place, and only the folder may differ.
        return recorded if recorded.name == here.name != SOCKET else here


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, the oldest first; half-written ones have another name."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _CHECKPOINT.fullmatch(path.name))


def checkpoint_name(step: int) -> str:
    return f"step-{step:09d}"


def checkpoint_step(path: Path) -> int:
    """The step of a checkpoint that `list_checkpoints` found."""
    return int(path.name.removeprefix("step-"))


class JsonlWriter:
    """Appends JSON objects, a line each, flushed per line; a torn last line is ended first.

    While a disk is full or does not answer they wait in memory, as `LineFile` says; RunDirError
    where it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        with writing(path):
            self._file = LineFile(path)

    def write(self, record: Mapping[str, Any]) -> None:
        line = json.dumps(strict(record), ensure_ascii=False, allow_nan=False, default=str)
        self._file.append(line.encode("utf-8", "replace") + b"\n")

    def close(self) -> None:
        self._file.close()


class StatusWriter:
    """Keeps status.json fresh: the loop assigns `status`, a thread writes it once a second.

    The heartbeat is written even when the loop is inside a long step or paused.
    """

    def __init__(self, run_dir: RunDir, status: RunStatus, period_s: float = 1.0) -> None:
        self.status = status
        self._run_dir = run_dir
        self._period_s = period_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="status", daemon=True)
        self._write()
        self._thread.start()

    def update(self, **changes: Any) -> None:
        self.status = replace(self.status, **changes)

    def close(self) -> None:
        """Write the last status and stop the heartbeat."""
        self._end.set()
        self._thread.join()
        self._write()

    def _beat(self) -> None:
        while not self._end.wait(self._period_s):
            self._write()

    def _write(self) -> None:
        try:
            self._run_dir.write_status(replace(self.status, heartbeat=time.time()))
        except OSError:
            pass  # A full disk must not end the run; the next beat tries again.


def list_runs(runs_dir: Path | str) -> list[RunDir]:
    """All runs in a folder, the one started last first; unreadable ones are left out."""
    started: list[tuple[float, RunDir]] = []
    root = Path(runs_dir)
    for path in root.iterdir() if root.is_dir() else ():
        try:
            started.append((RunDir(path).read_info().started, RunDir(path)))
        except RunDirError:
            continue
    started.sort(key=lambda item: item[0], reverse=True)
    return [run for _, run in started]


def find_run(name: str | None, runs_dir: Path | str) -> RunDir:
    """The run called `name` (a name under `runs_dir`, or a path), or the newest one.

    Raises RunDirError with the sentence a person needs.
    """
    if name is None:
        runs = list_runs(runs_dir)
        if not runs:
            raise RunDirError(
                f"{runs_dir}: holds no runs; start one with `lmm-tui launch`, or give --runs-dir"
            )
        return runs[0]
    inside = Path(runs_dir) / name
    candidate = RunDir(inside if inside.is_dir() else Path(name))
    if not candidate.path.is_dir():
        raise RunDirError(f"{name}: no such run in {runs_dir}; `lmm-tui runs` lists them")
    candidate.read_info()
    return candidate


def run_or_path(name: str, runs_dir: Path | str) -> Path:
    """What a name stands for where more than runs may be given: a run there, else a path."""
    inside = Path(runs_dir) / name
    return inside if inside.is_dir() else Path(name)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Where the block cannot write there, RunDirError says it as a person needs it."""
    try:
        yield
    except OSError as error:
        raise RunDirError(
            f"{path}: cannot be written ({error.strerror or error}); make room there or choose "
            "another --runs-dir"
        ) from None


def version_of(path: Path) -> tuple[int, int] | None:
    """Tells one version of an atomically replaced file from the next; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def replace_text(path: Path, text: str) -> None:
    """Write a file as a whole: no reader sees a half of it."""
    aside = path.with_suffix(f".{os.getpid()}.tmp")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def _started_at(pid: int, started: float) -> bool:
    try:
        # Process start times come from clock ticks; two readings differ by far less than this.
        return abs(psutil.Process(pid).create_time() - started) < 2.0
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _read_record(path: Path, kind: type[Record]) -> Record | None:
    """None where it is missing or damaged, and be it one value of another type.

    Unknown keys are left out, so that an older reader survives a newer writer's additions.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        hints = get_type_hints(kind)
        known = {item.name: found[item.name] for item in fields(kind) if item.name in found}
        return kind(**known) if all(_fits(known[name], hints[name]) for name in known) else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from JSON is of a record's type, and a number one that can be shown."""
    of = get_args(hint)
    if hint in (int, float):
        is_number = type(value) is int or (hint is float and type(value) is float)
        return is_number and abs(value) <= _MOST
    if isinstance(value, dict) and get_origin(hint) is dict:
        return all(_fits(item, of[1]) for item in value.values())
    if isinstance(value, list) and get_origin(hint) is list:
        return all(_fits(item, of[0]) for item in value)
    if isinstance(hint, UnionType):  # What is measured, and may be no number.
        return value is None or type(value) is float or any(_fits(value, one) for one in of)
    return type(value) is hint


def _write_json(path: Path, record: Mapping[str, Any]) -> None:
    replace_text(path, json.dumps(record, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        demo = RunDir(Path(folder) / "demo")
        demo.create()
        held = demo.lock()
        try:
            demo.lock()
        except RunDirError as refusal:
            print(refusal)
        process = psutil.Process()
        identity = RunInfo(
            name="demo",
            stage="pretrain",
            created=time.time(),
            started=time.time(),
            host=socket.gethostname(),
            pid=process.pid,
            pid_started=process.create_time(),
        )
        demo.write_info(identity)
        demo.write_status(RunStatus(state="running", step=3, heartbeat=time.time()))
        print(demo.derived_state(demo.read_info(), demo.read_status()), demo.socket_path())
        assert find_run(None, folder).path == demo.path
        held.close()
    print("=== 自测通过 ===")
