"""`run.json` and `status.json` as records: identity and state of a run, validated when read.

`record_from` holds for every record that comes as JSON, from a file or from another process.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from lmm_tui.guarded_files import read_bytes, replace_text
from lmm_tui.message import with_messages, with_parts
from lmm_tui.metrics.stages.built_in import BUILT_IN, info_of
from lmm_tui.metrics.stages.stage_info import StageInfo

FORMAT = 1
"""Version of the run directory's layout; readers refuse a newer one."""

ACTIVE_STATES = frozenset({"starting", "running", "paused", "stopping"})
ATTACHABLE_STATES = ACTIVE_STATES | {"stale", "restarting"}

LIKELIHOOD_STAGES = frozenset(name for name, info in BUILT_IN.items() if info.likelihood)
"""Stages whose loss is in nats per token, so that exp(loss) is a perplexity."""


@dataclass(frozen=True)
class RunInfo:
    """`run.json`: the identity of a run, written at every start."""

    name: str
    stage: str
    created: float
    started: float
    host: str
    pid: int
    pid_started: float
    """Start time of the process (unix seconds): tells a reused pid from the real one."""
    device: str = ""
    device_name: str = ""
    """What the driver calls a GPU."""
    precision: str = ""
    model: str = ""
    parameters: int = 0
    socket: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    """The command line that started it, without what looks like a secret."""
    git: dict[str, str] = field(default_factory=dict)
    """`commit`, `branch` and `diff` of the folder it was started in."""
    references: dict[str, float] = field(default_factory=dict)
    """Baseline losses in nats: `ln V`, `unigram`, `bigram`."""
    group: str = ""
    """What the run belongs to, such as a sweep."""
    parent: str = ""
    parent_checkpoint: str = ""
    parent_stage: str = ""
    resumed_steps: list[int] = field(default_factory=list)
    earlier_s: float = 0.0
    """How long the run had taken before `started`, in all its sessions."""
    stage_info: dict[str, Any] = field(default_factory=dict)
    """What a stage of the user's own says of itself; empty for a stage of this package."""
    format: int = FORMAT

    @property
    def about_stage(self) -> StageInfo:
        """What its stage says of itself."""
        of_own = None if self.stage in BUILT_IN else StageInfo.from_record(self.stage_info)
        return of_own or info_of(self.stage)

    @property
    def in_this_process(self) -> bool:
        """Whether this process is the one that trains it."""
        return self.pid == os.getpid() and self.host == socket.gethostname()

    def seconds_at(self, heartbeat: float) -> float:
        """How long the run has taken in all its sessions, at a heartbeat of the last one."""
        return self.earlier_s + max(heartbeat - self.started, 0.0)


@dataclass(frozen=True)
class RunStatus:
    """`status.json`: the state of a run, replaced at most once a second."""

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
    """A long operation in progress, such as `tokenising 43 %`; empty while training."""
    error: str = ""
    numbers: dict[str, float | None] = field(default_factory=dict)
    """What sums up the stage beside the loss, such as the reward, by name of the metric."""
    verdict: dict[str, str | int | None] = field(default_factory=dict)
    """`metrics.health.verdict.Verdict` on the rows so far; empty where health is off."""


_LIMIT = 1 << 20
_LARGEST = 1 << 62
"""Above every count and time of a record."""

Record = TypeVar("Record")


def read_record(path: Path, kind: type[Record]) -> Record | None:
    """None if the file is missing or damaged, or if a value has the wrong type."""
    try:
        return record_from(json.loads(read_bytes(path, path.parent, _LIMIT)), kind)
    except (OSError, ValueError, RecursionError):
        return None


def record_from(found: object, kind: type[Record]) -> Record | None:
    """The dataclass `kind` from a JSON object; None if a value is missing or of the wrong type.

    Unknown keys are ignored, so that an older reader accepts a newer writer's additions.
    """
    assert is_dataclass(kind)
    if not isinstance(found, dict):
        return None
    found = with_messages(found)
    hints = _hints(kind)
    known = {item.name: found[item.name] for item in fields(kind) if item.name in found}
    if not all(_fits(known[name], hints[name]) for name in known):
        return None
    try:
        return kind(**known)
    except TypeError:  # A value without a default is missing.
        return None


@cache
def _hints(kind: type) -> dict[str, Any]:
    """Evaluated once a class: for a list of 2,000 runs it took half of the time."""
    return get_type_hints(kind)


def write_record(path: Path, record: RunInfo | RunStatus) -> None:
    text = json.dumps(with_parts(asdict(record)), ensure_ascii=False, indent=1) + "\n"
    replace_text(path, text.encode("utf-8", "replace").decode(), path.parent)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a JSON value has the annotated type, numbers being finite and displayable."""
    of = get_args(hint)
    if hint in (int, float):
        is_number = type(value) is int or (hint is float and type(value) is float)
        return is_number and abs(value) <= _LARGEST
    if isinstance(value, dict) and get_origin(hint) is dict:
        return all(_fits(item, of[1]) for item in value.values())
    if isinstance(value, list) and get_origin(hint) is list:
        return all(_fits(item, of[0]) for item in value)
    if isinstance(hint, UnionType):  # Measurements may be None or non-finite.
        return value is None or type(value) is float or any(_fits(value, one) for one in of)
    return hint is Any or type(value) is hint or (hint is str and isinstance(value, str))


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write_record(Path(folder) / "status.json", RunStatus(state="running", step=3))
        print(read_record(Path(folder) / "status.json", RunStatus))
    print("=== 自测通过 ===")
