"""What the two ends of a remote run may say to each other.

Each end takes the other for hostile: a message is one of these dataclasses, or a WireError.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, TypeGuard

from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.run_records import FORMAT, RunInfo, RunStatus, record_from
from lmm_tui.errors import LmmError
from lmm_tui.message import with_messages
from lmm_tui.runs.fleets import RunDetail

GROWING = ("metrics.jsonl", "events.jsonl", "samples.jsonl")
"""The files that are sent as they grow."""
MOST_RUNS = 10_000
"""Of one folder."""
_NAME = re.compile(r"[^./\0][^/\0]{0,199}")
"""A folder beside others, and nothing else."""
_MOST_POINTS = 64
_MOST_SETTINGS = 1000
_LONGEST_KEY, _LONGEST_VALUE = 200, 10_000
_LONGEST_S = 1e10
"""Above the age of every heartbeat, also of one that was never written."""


class WireError(LmmError):
    """Something that no lmm-tui of this version sends; the text is what the other end sent."""


@dataclass(frozen=True)
class Refusal:
    """There is nothing to serve, and why."""

    error: str


@dataclass(frozen=True)
class InfoUpdate:
    """`run.json` as it is now."""

    info: RunInfo


@dataclass(frozen=True)
class StatusUpdate:
    """`status.json`, with the heartbeat's age in seconds, since clocks differ."""

    status: RunStatus
    age: float


@dataclass(frozen=True)
class Growth:
    """Text to add to one of GROWING at an offset, the bytes after it being dropped."""

    file: str
    at: int
    add: str


@dataclass(frozen=True)
class Answer:
    """The reply to the command of that number."""

    id: int
    reply: Reply


@dataclass(frozen=True)
class Opening:
    """The first message of a monitor: the bytes that it has of each of GROWING."""

    have: dict[str, int]


@dataclass(frozen=True)
class RemoteCommand:
    """A command for the run."""

    id: int
    command: str
    args: dict[str, Any]


@dataclass(frozen=True)
class RunUpdate:
    """What is new of one run of a folder."""

    run: str
    update: InfoUpdate | StatusUpdate


@dataclass(frozen=True)
class RunGone:
    """A run is no longer in the folder."""

    run: str


@dataclass(frozen=True)
class ListEnd:
    """All that is new of the folder has been sent; `listed` runs are there."""

    listed: int


FromFolder = Refusal | RunUpdate | RunDetail | RunGone | ListEnd
FromRun = Refusal | InfoUpdate | StatusUpdate | Growth | Answer


def from_run(line: bytes) -> FromRun:
    """A line that a monitor received. Raises WireError."""
    found = _object(line)
    name = found.get("file")
    message: FromRun | None = None
    if "error" in found:
        message = record_from(found, Refusal)
    elif "reply" in found:
        reply = record_from(found["reply"], Reply)
        if reply is not None and type(found.get("id")) is int:
            message = Answer(found["id"], reply)
    elif name == "run.json":
        message = _info(found.get("text"))
    elif name == "status.json":
        status = record_from(found.get("status"), RunStatus)
        age = found.get("age")
        if status is not None and _is_age(age):
            message = StatusUpdate(status, age)
    elif name in GROWING:
        message = record_from(found, Growth)
    if message is None:
        raise WireError("a message that is none of a run's")
    return message


def from_folder(line: bytes) -> FromFolder:
    """A line that a fleet received. Raises WireError."""
    found = _object(line)
    if "listed" in found:
        end = record_from(found, ListEnd)
        if end is None or not 0 <= end.listed <= MOST_RUNS:
            raise WireError("a list of more than {most} runs", most=MOST_RUNS)
        return end
    if "run" not in found:
        message = from_run(line)
        if isinstance(message, Refusal):
            return message
        raise WireError("a message that is none of a folder's")
    name = found["run"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise WireError("a name that no run has")
    if found.get("gone") is True:
        return RunGone(name)
    if "curve" in found:
        detail = record_from(found, RunDetail)
        if detail is None or not _is_small(detail):
            raise WireError("details that no run has")
        return detail
    message = from_run(line)
    if not isinstance(message, InfoUpdate | StatusUpdate):
        raise WireError("a message that is none of a folder's")
    return RunUpdate(name, message)


def opening(line: bytes) -> Opening:
    """The first line that a run's server received. Raises WireError."""
    message = record_from(_object(line), Opening)
    if message is None or not all(
        name in GROWING and size >= 0 for name, size in message.have.items()
    ):
        raise WireError("no list of what it has")
    return message


def order(line: bytes) -> RemoteCommand:
    """A further line that a run's server received. Raises WireError."""
    message = record_from(_object(line), RemoteCommand)
    if message is None:
        raise WireError("a message that is no command")
    return message


def _is_small(detail: RunDetail) -> bool:
    numbers = [detail.best, detail.best_step, *detail.curve]
    settings = [*detail.began.items(), *detail.now.items()]
    return (
        len(detail.curve) <= _MOST_POINTS
        and all(one is None or math.isfinite(one) for one in numbers)
        and type(detail.best_step) is not float
        and len(settings) <= 2 * _MOST_SETTINGS
        and all(len(key) <= _LONGEST_KEY and _is_setting(value) for key, value in settings)
    )


def _is_setting(value: object) -> bool:
    items = value if isinstance(value, list) else [value]
    return len(str(value)) <= _LONGEST_VALUE and all(
        isinstance(item, str | int | float | bool) for item in items
    )


def _is_age(value: object) -> TypeGuard[float]:
    return type(value) in (int, float) and abs(value) <= _LONGEST_S  # type: ignore[arg-type]


def _info(text: object) -> InfoUpdate | None:
    if not isinstance(text, str):
        return None
    info = record_from(_object(text.encode("utf-8", "replace")), RunInfo)
    if info is not None and info.format > FORMAT:
        raise WireError(
            "a run of format {format}, newer than {format2}", format=info.format, format2=FORMAT
        )
    return None if info is None else InfoUpdate(info)


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise WireError("what is not JSON") from None
    if not isinstance(found, dict):
        raise WireError("what is no JSON object")
    return with_messages(found)


if __name__ == "__main__":
    print(from_run(b'{"file": "metrics.jsonl", "at": 0, "add": "{}"}'))
    for odd in (b"[1]", b"{", b"[" * 200_000, b'{"file": "../x", "at": 0, "add": ""}'):
        try:
            raise AssertionError(from_run(odd))
        except WireError as refused:
            print(refused)
    print("=== 自测通过 ===")
