"""Events of a run: one line in events.jsonl each, also written to the engine's log.

Events of steps that a resume abandoned are marked by the reader, `engine.run.history`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lmm_tui.engine.run.control_mailbox import Reply, Request
from lmm_tui.engine.run.jsonl_writer import JsonlWriter
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.message import Message

Kind = Literal[
    "start",
    "resume",
    "checkpoint",
    "probe",
    "spike",
    "sample",
    "validation",
    "eval",
    "command",
    "alert",
    "error",
    "end",
    "target",
]
Level = Literal["info", "warning", "error"]
_LEVELS: dict[str, Level] = {"warning": "warning", "error": "error"}

log = logging.getLogger("engine")


@dataclass(frozen=True)
class RunEvent:
    """What happened at a step; `details` depend on the kind, such as the `rule` of an alert."""

    step: int | None
    """None for what belongs to no step, such as a note on a log of another program."""
    kind: Kind | str
    message: str
    level: Level = "info"
    details: Mapping[str, Any] = field(default_factory=dict)
    time: float = field(default_factory=lambda: round(time.time(), 3))
    abandoned: bool = False
    """Whether it is of a step that a resume has trained anew, as the reader finds out."""

    def record(self) -> dict[str, Any]:
        """The JSON object of its line."""
        return {
            "time": self.time,
            "step": self.step,
            "kind": self.kind,
            "level": self.level,
            "message": self.message,
            **self.details,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> RunEvent | None:
        """None if the line is no event."""
        match record:
            case {"step": int(step), "kind": str(kind), "message": str(message)}:
                known = ("time", "step", "kind", "level", "message")
                details = {key: value for key, value in record.items() if key not in known}
                if kind == "eval" and "numbers" in details:  # As version 0.2 calls a validation.
                    kind = "validation"
                level = _LEVELS.get(str(record.get("level")), "info")
                return cls(step, kind, message, level, details, time_of(record))
        return None


def time_of(record: Mapping[str, Any]) -> float:
    """When a line was written, 0 where it does not say."""
    written = record.get("time")
    return float(written) if isinstance(written, int | float) else 0.0


class EventLog:
    """Writes the events of one run; thread-safe. Without a directory they are logged only."""

    def __init__(self, run_dir: RunDir | None) -> None:
        self._writer = JsonlWriter(run_dir.events if run_dir else None)
        self.on_event: Callable[[Mapping[str, Any]], object] = lambda record: None
        """Called with each event once it is written."""

    def write(
        self, kind: Kind, message: str, *, step: int, level: Level = "info", **details: Any
    ) -> None:
        record = RunEvent(step, kind, message, level, details).record()
        self._writer.write(record)
        self.on_event(record)
        log.log(getattr(logging, level.upper()), "step %d: %s: %s", step, kind, message)

    def write_command(
        self, request: Request, reply: Reply, changes: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """A command and its result; `changes` are records of `SettingChange`."""
        self.write(
            "command",
            Message("{command}: {message}", command=request.command, message=reply.message)
            if reply.ok
            else reply.message,
            step=reply.step,
            level="info" if reply.ok else "warning",
            args=request.args,
            ok=reply.ok,
            **({"by": request.by} if request.by else {}),
            **({"changes": list(changes)} if changes else {}),
        )

    def write_stop(self, request: Request, step: int) -> None:
        """A stop, which is answered only when the run has ended."""
        by: dict[str, Any] = {"by": request.by} if request.by else {}
        self.write("command", "stop", step=step, args=request.args, **by)

    def close(self) -> None:
        self._writer.close()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        events = EventLog(RunDir(folder))
        events.write("alert", "loss is NaN", step=12, level="warning", layer="layers.3")
        events.close()
        print(RunDir(folder).events.read_text())
    print("=== 自测通过 ===")
